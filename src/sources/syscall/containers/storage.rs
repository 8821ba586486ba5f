//! What podman and CRI-O keep of containers and images: `containers.json` and `images.json`.
//!
//! Format: `github.com/containers/storage`, types `Container` and `Image`; the metadata text inside is
//! `pkg/storage.RuntimeContainerMetadata` of CRI-O and `libpod/storage.go` of podman, which agree on the names used.

use serde::Deserialize;

use super::draft::{self, Draft};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Stored {
    id: String,
    names: Option<Vec<String>>,
    image: String,
    metadata: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Metadata {
    image_name: String,
    name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Image {
    id: String,
    digest: String,
}

/// Fills in name and image from `containers.json` where nothing better has named them; false if the container is not
/// in the file.
pub fn containers(bytes: &[u8], draft: &mut Draft) -> bool {
    let all: Vec<Stored> = serde_json::from_slice(bytes).unwrap_or_default();
    let Some(stored) = all.into_iter().find(|stored| *stored.id == *draft.container.id) else {
        return false;
    };
    let metadata: Metadata = serde_json::from_str(&stored.metadata).unwrap_or_default();
    let names = stored.names.unwrap_or_default();
    if draft.container.name.is_none() {
        let name = if metadata.name.is_empty() {
            names.first()
        } else {
            Some(&metadata.name)
        };
        draft.container.name = name.and_then(|name| draft.text(name));
    }
    if draft.container.image.is_none() {
        draft.container.image = draft.text(&metadata.image_name);
    }
    if draft.container.image_id.is_none() {
        draft.container.image_id = draft::hexadecimal(&stored.image);
    }
    true
}

/// Fills in the digest of the container's image from `images.json`.
pub fn images(bytes: &[u8], draft: &mut Draft) {
    let Some(id) = draft.container.image_id.clone() else {
        return;
    };
    let all: Vec<Image> = serde_json::from_slice(bytes).unwrap_or_default();
    if let Some(image) = all.into_iter().find(|image| *image.id == *id)
        && draft.container.image_digest.is_none()
    {
        draft.container.image_digest = draft::digest(&format!("@{}", image.digest));
    }
}
