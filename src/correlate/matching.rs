//! Which pairs of a bipartite graph are in every largest matching: what elimination can say for certain.

/// Most requests or processes that are told apart at once; beyond that nothing is certain.
pub const MOST: usize = 64;

/// What is certain of a left node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Certain {
    /// The right node that it has in every largest matching.
    pub partner: Option<usize>,
    /// It and all left nodes that it competes with, directly or not, can have a partner at the same time.
    pub complete: bool,
}

/// What is certain of each left node. `edges[l]` are right nodes, below `right`.
pub fn certain(edges: &[Vec<usize>], right: usize) -> Vec<Certain> {
    let mut found = vec![Certain::default(); edges.len()];
    for members in components(edges, right) {
        if members.len() > MOST || members.iter().map(|l| edges[*l].len()).max() > Some(MOST) {
            continue;
        }
        let own: Vec<Vec<usize>> = members.iter().map(|l| edges[*l].clone()).collect();
        let partners = largest(&own, right, None);
        let size = partners.iter().flatten().count();
        for l in &members {
            found[*l].complete = size == members.len();
        }
        for (r, l) in partners.iter().enumerate() {
            let Some(l) = *l else { continue };
            let without = largest(&own, right, Some((l, r)));
            if without.iter().flatten().count() < size {
                found[members[l]].partner = Some(r);
            }
        }
    }
    found
}

/// Left nodes that share right ones, directly or not.
fn components(edges: &[Vec<usize>], right: usize) -> Vec<Vec<usize>> {
    let mut by_right: Vec<Vec<usize>> = vec![Vec::new(); right];
    for (l, own) in edges.iter().enumerate() {
        own.iter().for_each(|r| by_right[*r].push(l));
    }
    let mut seen = vec![false; edges.len()];
    let mut found = Vec::new();
    for start in 0..edges.len() {
        if std::mem::replace(&mut seen[start], true) {
            continue;
        }
        let mut members = vec![start];
        let mut at = 0;
        while let Some(&l) = members.get(at) {
            at += 1;
            for &other in edges[l].iter().flat_map(|r| &by_right[*r]) {
                if !std::mem::replace(&mut seen[other], true) {
                    members.push(other);
                }
            }
        }
        members.sort_unstable();
        found.push(members);
    }
    found
}

/// A largest matching by augmenting paths: for each right node its partner.
fn largest(edges: &[Vec<usize>], right: usize, without: Option<(usize, usize)>) -> Vec<Option<usize>> {
    let mut partners = vec![None; right];
    for l in 0..edges.len() {
        let mut seen = vec![false; right];
        augment(l, edges, without, &mut seen, &mut partners);
    }
    partners
}

fn augment(
    l: usize,
    edges: &[Vec<usize>],
    without: Option<(usize, usize)>,
    seen: &mut [bool],
    partners: &mut [Option<usize>],
) -> bool {
    for &r in &edges[l] {
        if without == Some((l, r)) || std::mem::replace(&mut seen[r], true) {
            continue;
        }
        if partners[r].is_none_or(|other| augment(other, edges, without, seen, partners)) {
            partners[r] = Some(l);
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certain_pairs() {
        /// Edges, number of right nodes, partners and completeness wanted.
        type Case<'a> = (&'a [&'a [usize]], usize, &'a [Option<usize>], &'a [bool]);
        let cases: [Case<'_>; 7] = [
            (&[&[0]], 1, &[Some(0)], &[true]),
            // Either could be.
            (&[&[0, 1], &[0, 1]], 2, &[None, None], &[true, true]),
            // The first can only be 0, so the second is 1.
            (&[&[0], &[0, 1]], 2, &[Some(0), Some(1)], &[true, true]),
            // Two for one.
            (&[&[0], &[0]], 1, &[None, None], &[false, false]),
            // The third has nobody to compete with.
            (&[&[0], &[0], &[1]], 2, &[None, None, Some(1)], &[false, false, true]),
            // One of two.
            (&[&[0, 1]], 2, &[None], &[true]),
            (
                &[&[], &[1], &[0, 1, 2]],
                3,
                &[None, Some(1), None],
                &[false, true, true],
            ),
        ];
        for (edges, right, want, complete) in cases {
            let edges: Vec<Vec<usize>> = edges.iter().map(|e| e.to_vec()).collect();
            let got = certain(&edges, right);
            assert!(
                got.iter().map(|c| c.partner).eq(want.iter().copied()),
                "{edges:?}: {got:?}"
            );
            assert!(
                got.iter().map(|c| c.complete).eq(complete.iter().copied()),
                "{edges:?}: {got:?}"
            );
        }
    }
}
