//! Any bytes can stand in the files of a runtime, a network plug-in or a container; what is made of them is bounded.
#![no_main]

use saker::sources::syscall::containers::parse;
use saker::sources::syscall::containers::users::Names;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    for container in parse(bytes) {
        let pod = container.pod.as_ref();
        let labels = pod.map_or(&[][..], |pod| &pod.labels);
        assert!(container.labels.len() <= 64 && labels.len() <= 64 && container.mounts.len() <= 128);
        for (key, value) in container.labels.iter().chain(labels) {
            assert!(key.len() <= 256 && value.len() <= 256);
        }
        let mounts = container.mounts.iter();
        let texts = mounts.flat_map(|mount| [&mount.source, &mount.destination, &mount.mode, &mount.propagation]);
        let own = [&container.name, &container.image, &container.root, &container.ip];
        for text in texts.chain(own.into_iter().flatten()) {
            assert!(text.len() <= 1024);
        }
        let json = serde_json::to_vec(&container).expect("a container is JSON");
        assert_eq!(
            serde_json::from_slice::<saker::processes::Container>(&json).expect("and back"),
            container
        );
    }
    let mut names = Names::default();
    names.add_users(bytes, 16);
    names.add_groups(bytes, 16);
    assert!(names.users.len() <= 16 && names.groups.len() <= 16);
});
