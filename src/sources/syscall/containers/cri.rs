//! What a runtime answers over the CRI: the messages, as far as they are used, and what they say of a container.
//!
//! Format: `runtime.v1` of k8s.io/cri-api, whose field numbers never change; fields that are not declared are skipped.

use std::collections::BTreeMap;

use prost::Message;

use super::annotations;
use super::draft::{self, Draft};

/// `ContainerStatusRequest`, and `PodSandboxStatusRequest`, which looks the same.
#[derive(Clone, PartialEq, Message)]
pub struct ById {
    #[prost(string, tag = "1")]
    pub id: String,
}

/// `ListContainersRequest`, whose filter can be an id.
#[derive(Clone, PartialEq, Message)]
pub struct ListContainers {
    #[prost(message, optional, tag = "1")]
    pub filter: Option<ById>,
}

/// `VersionRequest`.
#[derive(Clone, PartialEq, Message)]
pub struct AskVersion {}

#[derive(Clone, PartialEq, Message)]
pub struct Version {
    #[prost(string, tag = "2")]
    pub runtime_name: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct ContainerStatusResponse {
    #[prost(message, optional, tag = "1")]
    pub status: Option<ContainerStatus>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ContainerStatus {
    #[prost(message, optional, tag = "2")]
    pub metadata: Option<ContainerMetadata>,
    #[prost(message, optional, tag = "8")]
    pub image: Option<ImageSpec>,
    #[prost(string, tag = "9")]
    pub image_ref: String,
    #[prost(btree_map = "string, string", tag = "12")]
    pub labels: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ContainerMetadata {
    #[prost(string, tag = "1")]
    pub name: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct ImageSpec {
    #[prost(string, tag = "1")]
    pub image: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct ListContainersResponse {
    #[prost(message, repeated, tag = "1")]
    pub containers: Vec<Listed>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Listed {
    #[prost(string, tag = "1")]
    pub id: String,
    #[prost(string, tag = "2")]
    pub sandbox: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct PodSandboxStatusResponse {
    #[prost(message, optional, tag = "1")]
    pub status: Option<PodSandboxStatus>,
}

#[derive(Clone, PartialEq, Message)]
pub struct PodSandboxStatus {
    #[prost(string, tag = "1")]
    pub id: String,
    #[prost(message, optional, tag = "2")]
    pub metadata: Option<PodMetadata>,
    #[prost(message, optional, tag = "5")]
    pub network: Option<Network>,
    #[prost(btree_map = "string, string", tag = "7")]
    pub labels: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
pub struct PodMetadata {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub uid: String,
    #[prost(string, tag = "3")]
    pub namespace: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct Network {
    #[prost(string, tag = "1")]
    pub ip: String,
}

/// All that a runtime has answered of one container, or of a pod's sandbox when `container` is not there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    pub runtime: String,
    pub container: Option<ContainerStatus>,
    pub sandbox: Option<PodSandboxStatus>,
}

/// Fills in what files have not told. Name and image count together, because each source has its own way to write them.
pub(super) fn fill(answer: &Answer, draft: &mut Draft) {
    if draft.container.runtime.is_empty() {
        // As the names of cgroups show it.
        draft.container.runtime = draft.bounded(&answer.runtime, draft::LABEL);
    }
    if let Some(status) = &answer.container {
        let name = status.metadata.as_ref().map_or("", |metadata| &metadata.name);
        if draft.container.name.is_none() {
            draft.container.name = draft.text(name);
        }
        let image = status.image.as_ref().map_or("", |image| &image.image);
        if draft.container.image.is_none() {
            draft.container.image = draft.text(image);
        }
        for reference in [image, &status.image_ref] {
            let container = &mut draft.container;
            container.image_id = container.image_id.take().or_else(|| draft::hexadecimal(reference));
            container.image_digest = container.image_digest.take().or_else(|| draft::digest(reference));
        }
        annotations::kubelet(&status.labels, draft);
        if draft.container.labels.is_empty() {
            draft.container.labels = draft.labels(status.labels.iter());
        }
    }
    draft.sandbox |= answer.container.is_none() && answer.sandbox.is_some();
    let Some(status) = &answer.sandbox else { return };
    let metadata = status.metadata.clone().unwrap_or_default();
    let texts = [&metadata.name, &metadata.namespace, &metadata.uid, &status.id];
    let [name, namespace, uid, id] = texts.map(|text| (!text.is_empty()).then_some(&**text));
    annotations::pod(draft, name, namespace, uid, id);
    // The kubelet adds name, namespace and uid, which are no labels of the pod.
    let labels = draft.labels(
        status
            .labels
            .iter()
            .filter(|(key, _)| !key.starts_with("io.kubernetes.")),
    );
    let ip = status
        .network
        .as_ref()
        .and_then(|network| annotations::address(&network.ip));
    let pod = draft.pod();
    if pod.labels.is_empty() {
        pod.labels = labels;
    }
    if pod.ip.is_none() {
        pod.ip = ip;
    }
}
