//! The syscall source's catalog: what its rules may name. The rows are in [`table`], the events in [`events`].
//!
//! A field's number is its row: [`view::SyscallView`] finds the row's answer by it.

pub mod calls;
pub mod events;
mod table;
mod values;
pub mod view;

use std::borrow::Cow;

use super::{Argument, Field, Origin, Type};
use table::{Answer, Row};

/// What may follow a field's name, and where the field may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Plain,
    /// A list without an index.
    List,
    /// An index that may be left out.
    Index,
    /// The same, of ancestors: any of them when it is left out.
    Ancestor,
    /// A key in brackets.
    Key,
    OptionalKey,
    /// A parameter's name after a dot or in brackets.
    Member,
    /// The same, where the parameter decides the type.
    RawMember,
    /// Any name after a dot or in brackets.
    AnyMember,
    OptionalMember,
    /// Only on the left of a comparison: it may have several values.
    Filter,
    FilterKey,
}

/// The first number of the classes, so that rows may be added to one without moving the others.
const CLASSES: [(u32, &[Row]); 5] = [
    (0, table::event::ROWS),
    (1000, table::process::ROWS),
    (2000, table::files::ROWS),
    (3000, table::container::ROWS),
    (4000, table::actor::ROWS),
];

/// The rows of the syscall source, beside the generic `evt.*`.
pub fn table() -> Vec<Field> {
    CLASSES.iter().flat_map(|(first, rows)| class(*first, rows)).collect()
}

/// The rows that an exec session's events have as well: process, container, pod and actor.
pub fn session_table() -> Vec<Field> {
    CLASSES
        .iter()
        .filter(|(first, _)| matches!(first, 1000 | 3000 | 4000))
        .flat_map(|(first, rows)| class(*first, rows))
        .collect()
}

fn class(first: u32, rows: &'static [Row]) -> impl Iterator<Item = Field> {
    rows.iter().zip(first..).map(|(row, number)| field(row, number))
}

fn field(&(name, kind, shape, doc, answer): &Row, number: u32) -> Field {
    let refused = match answer {
        Answer::By(_) => None,
        Answer::Refused(reason) => Some(reason),
    };
    let doc = refused.map_or(Cow::Borrowed(doc), |reason| format!("{doc} (refused: {reason})").into());
    let field = Field::string(name, Origin::External(number), doc).of(kind);
    let argument = match shape {
        Shape::Plain | Shape::List | Shape::Filter => Argument::None,
        Shape::Index | Shape::Ancestor => Argument::OptionalIndex,
        Shape::Key | Shape::FilterKey => Argument::Key,
        Shape::OptionalKey => Argument::OptionalKey,
        Shape::Member => Argument::Member {
            any: false,
            typed: false,
        },
        Shape::RawMember => Argument::Member {
            any: false,
            typed: true,
        },
        Shape::AnyMember => Argument::Member {
            any: true,
            typed: false,
        },
        Shape::OptionalMember => Argument::OptionalMember,
    };
    let several = matches!(
        shape,
        Shape::Ancestor | Shape::RawMember | Shape::Filter | Shape::FilterKey
    );
    Field {
        argument,
        list: shape == Shape::List,
        no_rhs: several,
        no_transformer: several,
        refused,
        ..field
    }
}

/// True for a field of which several values are compared at once, and any of them will do.
pub fn is_several(number: u32) -> bool {
    let row = CLASSES
        .iter()
        .find_map(|(first, rows)| rows.get(number.checked_sub(*first)? as usize));
    row.is_some_and(|(_, _, shape, _, _)| matches!(shape, Shape::Ancestor | Shape::Filter | Shape::FilterKey))
}

/// Fields that are kept for old rules and say nothing any more.
pub fn is_retired(name: &str) -> bool {
    name == "evt.dir" || name == "evt.latency" || name.starts_with("evt.latency.")
}

/// The type of a parameter that `evt.rawarg` may name.
pub(super) fn member_type(name: &str) -> Option<Type> {
    events::parameter(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_and_numbers_are_unique() {
        let rows = table();
        let names: HashSet<_> = rows.iter().map(|f| f.name.clone()).collect();
        assert_eq!(names.len(), rows.len());
        for ((first, rows), (next, _)) in CLASSES.iter().zip(&CLASSES[1..]) {
            assert!(first + rows.len() as u32 <= *next);
        }
    }
}
