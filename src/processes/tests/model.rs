//! Random lives of processes against a list of all that ever were.

use super::*;

#[derive(Clone, Copy, Debug)]
enum Step {
    Fork(usize, u32),
    Exec(usize, u8),
    Exit(usize),
}

struct Life {
    key: Key,
    parent: Option<usize>,
    exe: String,
    living: bool,
}

proptest! {
    #[test]
    fn lives(steps in proptest::collection::vec(prop_oneof![
        (any::<usize>(), 10..22u32).prop_map(|(who, pid)| Step::Fork(who, pid)),
        (any::<usize>(), any::<u8>()).prop_map(|(who, exe)| Step::Exec(who, exe)),
        any::<usize>().prop_map(Step::Exit),
    ], 0..60)) {
        let mut state = state();
        let mut all = vec![Life { key: SHELL, parent: None, exe: "/bin/sh".into(), living: true }];
        for (n, step) in steps.into_iter().enumerate() {
            let living: Vec<usize> = (0..all.len()).filter(|at| all[*at].living).collect();
            let pick = |who: usize| living[who % living.len()];
            match step {
                Step::Fork(who, pid) if !living.iter().any(|at| all[*at].key.pid == pid) => {
                    let parent = pick(who);
                    let key = Key { pid, start: 100_000_003 + n as u64 * TICK };
                    Made::fork(all[parent].key, key).to(&mut state);
                    let exe = all[parent].exe.clone();
                    all.push(Life { key, parent: Some(parent), exe, living: true });
                }
                Step::Fork(..) => {}
                Step::Exec(who, exe) => {
                    let life = &mut all[pick(who)];
                    life.exe = format!("/bin/{exe}");
                    Made::exec(life.key, &life.exe, "x\0").to(&mut state);
                }
                Step::Exit(who) if living.len() > 1 => {
                    let life = &mut all[pick(who)];
                    life.living = false;
                    exit(life.key, &mut state);
                }
                Step::Exit(_) => {}
            }
            let mut needed = vec![false; all.len()];
            for life in all.iter().filter(|life| life.living) {
                let mut expected = Vec::new();
                let mut next = all.iter().position(|other| std::ptr::eq(other, life));
                while let Some(at) = next {
                    needed[at] = true;
                    expected.push(all[at].exe.as_str());
                    next = all[at].parent;
                }
                prop_assert_eq!(exes(&state, life.key), expected);
                prop_assert_eq!(state.by_pid(life.key.pid).unwrap().key.pid, life.key.pid);
            }
            prop_assert_eq!(state.counts().processes, needed.iter().filter(|needed| **needed).count());
        }
    }
}
