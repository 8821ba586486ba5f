//! Any bytes can come out of a runtime's socket; what is made of them is bounded.
#![no_main]

use saker::sources::syscall::containers::answered;
use saker::sources::syscall::containers::cri::{
    Answer, ContainerStatusResponse, ListContainersResponse, PodSandboxStatusResponse, Version,
};
use saker::sources::syscall::cri::client::unframed;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let framed = [&[0], &(bytes.len() as u32).to_be_bytes()[..], bytes].concat();
    // The bytes are each answer in turn, with and without what goes before a message.
    for bytes in [bytes, &framed] {
        let _ = unframed::<ListContainersResponse>(bytes);
        let runtime = unframed::<Version>(bytes).map(|version| version.runtime_name);
        let container = unframed::<ContainerStatusResponse>(bytes).ok().and_then(|answer| answer.status);
        let sandbox = unframed::<PodSandboxStatusResponse>(bytes).ok().and_then(|answer| answer.status);
        let container = answered(&Answer {
            runtime: runtime.unwrap_or_default(),
            container,
            sandbox,
        });
        let pod = container.pod.as_ref();
        let labels = pod.map_or(&[][..], |pod| &pod.labels);
        assert!(container.labels.len() <= 64 && labels.len() <= 64);
        for (key, value) in container.labels.iter().chain(labels) {
            assert!(key.len() <= 256 && value.len() <= 256);
        }
        let own = [&container.name, &container.image].into_iter().flatten();
        let pods = pod.into_iter().flat_map(|pod| [&pod.name, &pod.namespace, &pod.uid]);
        for text in own.chain(pods).chain([&container.runtime]) {
            assert!(text.len() <= 1024);
        }
    }
});
