//! What is known of a container and its pod: filled from runtimes by the source, read by fields.

use crate::event::Timestamp;

/// A container of the node. What nobody has told is `None` or empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Container {
    /// The full id, 64 hexadecimal digits for all common runtimes.
    pub id: Box<str>,
    /// `containerd`, `cri-o`, `docker`, `podman`, … as `container.type` gives it.
    pub runtime: Box<str>,
    pub name: Option<Box<str>>,
    /// The image as it was asked for: `registry:5000/team/app:1.2@sha256:…`.
    pub image: Option<Box<str>>,
    /// Digest of the image's configuration, without `sha256:`.
    pub image_id: Option<Box<str>>,
    /// Digest of the image's manifest, with `sha256:`.
    pub image_digest: Option<Box<str>>,
    pub privileged: Option<bool>,
    pub host_pid: Option<bool>,
    pub host_network: Option<bool>,
    pub host_ipc: Option<bool>,
    /// When it was started, nanoseconds since the Unix epoch.
    pub started: Option<Timestamp>,
    pub mounts: Vec<Mount>,
    pub labels: Vec<(Box<str>, Box<str>)>,
    pub pod: Option<Pod>,
    /// Its address in its first network; that of the pod for a container of Kubernetes.
    pub ip: Option<Box<str>>,
    /// The root file system as the host sees it, for names of users.
    pub root: Option<Box<str>>,
}

/// A mount of a container (OCI runtime specification, `mounts`).
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mount {
    pub source: Box<str>,
    pub destination: Box<str>,
    pub mode: Box<str>,
    pub writable: bool,
    pub propagation: Box<str>,
}

/// The pod of a container, as the kubelet has told the runtime.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pod {
    pub name: Box<str>,
    pub namespace: Box<str>,
    pub uid: Box<str>,
    pub sandbox_id: Option<Box<str>>,
    pub ip: Option<Box<str>>,
    pub labels: Vec<(Box<str>, Box<str>)>,
}

impl Container {
    /// The first twelve characters of the id, which is what `container.id` gives.
    pub fn short_id(&self) -> &str {
        self.id.get(..12).unwrap_or(&self.id)
    }

    /// The image without tag and digest; a registry's port is no tag.
    pub fn repository(&self) -> Option<&str> {
        let image = self.image.as_deref()?;
        let image = image.split('@').next().unwrap_or(image);
        let slash = image.rfind('/').map_or(0, |at| at + 1);
        Some(image[slash..].find(':').map_or(image, |colon| &image[..slash + colon]))
    }

    /// The image's tag.
    pub fn tag(&self) -> Option<&str> {
        let image = self.image.as_deref()?;
        let image = image.split('@').next().unwrap_or(image);
        let name = &image[image.rfind('/').map_or(0, |at| at + 1)..];
        name.split_once(':').map(|(_, tag)| tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_taken_apart() {
        for (image, repository, tag) in [
            ("nginx", "nginx", None),
            ("docker.io/library/nginx:1.27", "docker.io/library/nginx", Some("1.27")),
            ("localhost:5000/x", "localhost:5000/x", None),
            ("localhost:5000/x:2@sha256:00", "localhost:5000/x", Some("2")),
        ] {
            let container = Container {
                image: Some(image.into()),
                ..Container::default()
            };
            assert_eq!(
                (container.repository(), container.tag()),
                (Some(repository), tag),
                "{image}"
            );
        }
    }
}
