//! Completion and hover at a `|` in small texts, and everywhere in rule files that are cut anywhere.

use proptest::prelude::*;

use super::*;

/// The rules that completion and hover know beside the text.
fn known() -> Loaded {
    let text = "- macro: by_person\n  condition: not ka.user.name startswith system\n\
                - list: writes\n  items: [create, patch]\n\
                - rule: Known\n  desc: d\n  source: k8s_audit\n  priority: INFO\n  output: o\n\
                \x20 condition: by_person and ka.verb in (writes)\n";
    let file = RuleFile {
        name: "known.yaml".to_owned(),
        text: text.to_owned(),
    };
    engine::load(vec![file], &check::options()).expect("no fields of the user's own")
}

fn marked(text: &str) -> (String, usize) {
    let at = text.find('|').expect("a mark");
    (text.replacen('|', "", 1), at)
}

#[test]
fn what_fits_is_offered() {
    const RULE: &str = "- rule: r\n  source: k8s_audit\n";
    for (text, wanted, unwanted) in [
        ("- ru|", "rule: ", "- rule: "),
        ("|", "- macro: ", "macro: "),
        ("- rule: r\n  pri|", "priority: ", "rule: "),
        ("- macro: m\n  |", "condition: ", "priority: "),
        ("- rule: r\n  priority: WA|\n", "WARNING", "k8s_audit"),
        ("- rule: r\n  source: |\n", "k8s_audit", "WARNING"),
        (
            "- rule: r\n  condition: |\n  source: k8s_audit\n",
            "ka.verb",
            "proc.name",
        ),
        ("- rule: r\n  condition: pro|\n", "proc.name", "ka.verb"),
        ("- rule: Known\n  condition: and |\n", "ka.verb", "proc.name"),
        ("- macro: m\n  condition: |\n", "ka.verb", "and"),
        (
            "- macro: own\n  condition: [\n- macro: m\n  condition: not o|",
            "own",
            "=",
        ),
        (
            "$ condition: >\n    ka.verb = get and\n    by|\n",
            "by_person",
            "writes",
        ),
        ("$ condition: ka.verb |\n", "startswith", "ka.verb"),
        ("$ condition: jevt.value[/verb] |\n", "startswith", "ka.verb"),
        ("$ condition: ka.verb =|\n", "!=", "ka.verb"),
        ("$ condition: ka.verb in (get, |)\n", "writes", "by_person"),
        ("$ condition: ka.verb = get |\n", "and", "="),
        ("$ condition: (by_person) |\n", "or", "ka.verb"),
        ("$ condition: ka.user.name = val(|\n", "ka.verb", "by_person"),
        ("$ output: \"who %20ka.us|\"\n", "ka.user.name", "proc.name"),
        ("$ exceptions:\n    - |\n", "fields: ", "ka.verb"),
        (
            "$ exceptions:\n    - name: e\n      fields: [ka.verb, |\n",
            "ka.user.name",
            "fields: ",
        ),
        (
            "$ exceptions:\n    - name: e\n      fields:\n        - k|\n",
            "ka.user.name",
            "fields: ",
        ),
        ("$ exceptions:\n  - name: e\n    co|\n", "comps: ", "ka.verb"),
        ("$ exceptions:\n  - {name: e, comps: [|\n", "startswith", "comps: "),
    ] {
        let (text, at) = marked(&text.replace("$", &format!("{}\n ", RULE.trim_end())));
        let offers = complete::complete(&text, at, Some(&known().definitions));
        let texts: Vec<&str> = offers
            .as_array()
            .expect("offers")
            .iter()
            .filter_map(|o| o["textEdit"]["newText"].as_str())
            .collect();
        assert!(texts.contains(&wanted), "{text}: no `{wanted}` in {texts:?}");
        assert!(!texts.contains(&unwanted), "{text}: `{unwanted}`");
    }
    let (text, at) = marked("- rule: r\n  desc: é𝄞\n  source: k8s_audit\n  output: \"𝄞 %20ka.us|\"\n");
    let offers = complete::complete(&text, at, None);
    let edit = json!({"start": {"line": 3, "character": 17}, "end": {"line": 3, "character": 22}});
    assert_eq!(offers[0]["textEdit"]["range"], edit);
}

#[test]
fn words_are_explained() {
    for (text, wanted) in [
        (
            "- macro: m\n  condition: ka.ve|rb = get\n",
            Some("ka.verb: string (k8s_audit)"),
        ),
        ("- rule: r\n  condition: ka.ve|rb = get\n", None),
        (
            "- rule: r\n  source: k8s_audit\n  output: %20ka.ve|rb.\n",
            Some("ka.verb: string"),
        ),
        (
            "- rule: r\n  condition: not by_pe|rson\n",
            Some("macro by_person\n\nnot ka.user.name"),
        ),
        (
            "- rule: r\n  condition: x in (|writes)\n",
            Some("list writes\n\ncreate, patch"),
        ),
        ("- rule: r\n  desc: by_pe|rson\n", None),
    ] {
        let (text, at) = marked(text);
        let said = hover::hover(&text, at, Some(&known().definitions)).map(|(said, _)| said);
        assert_eq!(said.is_some(), wanted.is_some(), "{text}: {said:?}");
        assert!(
            said.unwrap_or_default().starts_with(wanted.unwrap_or_default()),
            "{text}"
        );
    }
}

#[test]
fn uris_become_paths() {
    assert_eq!(path_of("file:///a%20b/%C3%A9.yaml"), PathBuf::from("/a b/é.yaml"));
    assert_eq!(path_of("file:///100%/%zz%"), PathBuf::from("/100%/%zz%"));
    assert_eq!(path_of("untitled:1"), PathBuf::from("untitled:1"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    /// No text and no position is too strange: rule files cut at two places, with anything put in between.
    #[test]
    fn nothing_makes_it_panic(
        file in 0..100usize, cut in 0..20_000usize, resume in 0..20_000usize, put in "[-:>|%(){}\\[\\], \"\r\n\taé𝄞]{0,12}",
        near in 0..40u64, line in 0..400u64, character in 0..120u64,
    ) {
        let files: Vec<RuleFile> = rulefiles::builtin().collect();
        let whole = &files[file % files.len()].text;
        let part = |at: usize| position::boundary(whole, at % whole.len());
        let text = format!("{}{put}{}", &whole[..part(cut)], &whole[part(resume)..]);
        let here = position::position(&text, cut.saturating_sub(near as usize));
        let typed = |key: &str| here[key].as_u64().unwrap_or_default();
        for (line, character) in [(line, character), (typed("line"), typed("character")), (line, u64::MAX), (u64::MAX, 0)] {
            let at = position::offset(&text, line, character);
            prop_assert!(text.is_char_boundary(at));
            prop_assert!(complete::complete(&text, at, None).is_array());
            hover::hover(&text, at, None);
        }
        // A place that exists is found again.
        prop_assert_eq!(position::position(&text, position::offset(&text, typed("line"), typed("character"))), here);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// What the loader finds in a cut file lies within its text.
    #[test]
    fn diagnostics_lie_within_the_text(file in 0..100usize, cut in 0..20_000usize) {
        let files: Vec<RuleFile> = rulefiles::builtin().collect();
        let whole = &files[file % files.len()];
        let text = whole.text[..position::boundary(&whole.text, cut % whole.text.len())].to_owned();
        let name = whole.name.clone();
        let loaded = engine::load(vec![RuleFile { name, text: text.clone() }], &check::options()).ok().map(|l| (l, 0));
        let document = Document { path: PathBuf::new(), text, version: Value::Null, loaded };
        for (_, start, end) in document.diagnostics() {
            prop_assert!(document.text.get(start..end).is_some(), "{start}..{end}");
            document.hover(start);
        }
    }
}
