//! Runtimes that answer well, badly, too much, or not at all; they speak real HTTP/2 over a real socket.

use std::convert::Infallible;
use std::sync::mpsc::RecvTimeoutError;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::{HeaderMap, HeaderValue};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::*;
use crate::sources::syscall::containers::cri::*;

const ID: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// What the runtime does with a call.
type Reply = fn(&str) -> (Vec<u8>, Option<u32>);

fn message(message: &impl prost::Message) -> (Vec<u8>, Option<u32>) {
    let body = message.encode_to_vec();
    let mut bytes = vec![0];
    bytes.extend((body.len() as u32).to_be_bytes());
    bytes.extend(body);
    (bytes, Some(0))
}

/// A runtime at a socket, as long as the returned runtime lives.
fn serve(socket: &Path, reply: Reply) -> tokio::runtime::Runtime {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let _inside = runtime.enter();
    let listener = tokio::net::UnixListener::bind(socket).unwrap();
    runtime.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = hyper::service::service_fn(move |request: Request<Incoming>| async move {
                let method = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
                let (bytes, status) = reply(&method);
                let trailers = status.map(|status| {
                    let mut trailers = HeaderMap::new();
                    trailers.insert("grpc-status", HeaderValue::from(status));
                    Ok::<_, Infallible>(trailers)
                });
                let body = Full::new(Bytes::from(bytes)).map_frame(|frame: Frame<Bytes>| frame);
                Ok::<_, Infallible>(Response::new(body.with_trailers(async move { trailers })))
            });
            let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service);
            tokio::spawn(async move { connection.await.ok() });
        }
    });
    runtime
}

fn asked(reply: Reply) -> Outcome {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("cri.sock");
    let _runtime = serve(&socket, reply);
    outcome(Path::new(&format!("unix://{}", socket.display())))
}

fn outcome(socket: &Path) -> Outcome {
    let cri = Cri::start(socket).unwrap();
    assert!(cri.ask(ID));
    let (id, outcome) = cri.answers.recv_timeout(Duration::from_secs(20)).unwrap();
    assert_eq!(&*id, ID);
    outcome
}

fn pod() -> PodSandboxStatusResponse {
    let metadata = PodMetadata {
        name: "web-0".into(),
        uid: "u".into(),
        namespace: "shop".into(),
    };
    let status = PodSandboxStatus {
        id: "sandbox".into(),
        metadata: Some(metadata),
        labels: [("app".to_owned(), "web".to_owned())].into(),
        ..PodSandboxStatus::default()
    };
    PodSandboxStatusResponse { status: Some(status) }
}

fn well(method: &str) -> (Vec<u8>, Option<u32>) {
    match method {
        "Version" => message(&Version {
            runtime_name: "cri-o".into(),
        }),
        "ContainerStatus" => message(&ContainerStatusResponse {
            status: Some(ContainerStatus::default()),
        }),
        "ListContainers" => {
            // An id that only begins like the one asked for must not count.
            let other = Listed {
                id: format!("{ID}0"),
                sandbox: "other".into(),
            };
            let own = Listed {
                id: ID.into(),
                sandbox: "sandbox".into(),
            };
            message(&ListContainersResponse {
                containers: vec![other, own],
            })
        }
        "PodSandboxStatus" => message(&pod()),
        _ => (Vec::new(), Some(12)),
    }
}

#[test]
fn a_runtime_tells_of_container_and_pod() {
    let Outcome::Told(answer) = asked(well) else {
        panic!("no answer")
    };
    assert_eq!((&*answer.runtime, answer.container.is_some()), ("cri-o", true));
    assert_eq!(answer.sandbox, pod().status);
}

#[test]
fn a_sandbox_is_no_container() {
    let Outcome::Told(answer) = asked(|method| match method {
        "ContainerStatus" => (Vec::new(), Some(5)),
        _ => well(method),
    }) else {
        panic!("no answer")
    };
    assert_eq!((answer.container, answer.sandbox), (None, pod().status));
}

#[test]
fn what_the_runtime_does_not_know_is_absent() {
    let outcome = asked(|method| match method {
        "Version" => well(method),
        _ => (Vec::new(), Some(5)),
    });
    assert_eq!(outcome, Outcome::Absent);
}

#[test]
fn bad_answers_fail() {
    let cases: [(&str, Reply); 9] = [
        ("no message", |_| (Vec::new(), Some(0))),
        ("cut prefix", |_| (vec![0, 0, 0], Some(0))),
        ("a length beyond the end", |_| (vec![0, 0, 0, 0, 9, 1], Some(0))),
        ("a length of 4 GiB", |_| (vec![0, 255, 255, 255, 255], Some(0))),
        ("compressed", |_| (vec![1, 0, 0, 0, 0], Some(0))),
        ("no protobuf", |_| (vec![0, 0, 0, 0, 2, 255, 255], Some(0))),
        ("no status", |method| (well(method).0, None)),
        ("refused", |method| (well(method).0, Some(13))),
        ("too long", |_| {
            message(&Version {
                runtime_name: "x".repeat(2 << 20),
            })
        }),
    ];
    for (what, reply) in cases {
        assert_eq!(asked(reply), Outcome::Failed, "{what}");
    }
}

#[test]
fn a_socket_that_is_not_there_or_silent_fails_in_time() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("cri.sock");
    assert_eq!(outcome(&socket), Outcome::Failed);
    let _silent = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let began = std::time::Instant::now();
    assert_eq!(outcome(&socket), Outcome::Failed);
    assert!(
        (PATIENCE..2 * PATIENCE).contains(&began.elapsed()),
        "{:?}",
        began.elapsed()
    );
}

#[test]
fn questions_are_bounded() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("cri.sock");
    let _silent = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let cri = Cri::start(&socket).unwrap();
    let taken = (0..2 * QUEUE).filter(|_| cri.ask(ID)).count();
    // One may be asked already.
    assert!((QUEUE..=QUEUE + 1).contains(&taken), "{taken}");
    let nothing = cri.answers.recv_timeout(Duration::from_millis(10));
    assert_eq!(nothing, Err(RecvTimeoutError::Timeout));
}
