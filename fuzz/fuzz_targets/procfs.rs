//! Whatever processes are called, and whatever is mounted: the texts of /proc can be read.
#![no_main]

use saker::sources::syscall::procfs::parse;

libfuzzer_sys::fuzz_target!(|text: &[u8]| {
    if let Some(stat) = parse::stat(text) {
        assert_eq!(stat.comm[15], 0, "a name ends");
    }
    if let Some(status) = parse::status(text) {
        assert_eq!(status.level() as usize, status.pids.len().saturating_sub(1));
    }
    let _ = (parse::namespace(text), parse::number(text));
    let path = parse::cgroup(text).map_or(text, |(_, path)| path);
    for mount in parse::cgroup_mounts(text) {
        if let Some((directory, _)) = mount.directory(path) {
            assert!(directory.starts_with(&mount.point));
        }
    }
});
