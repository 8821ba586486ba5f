//! Containers found by their files: written by hand in the shape of each runtime, and by real runtimes.

use std::path::Path;

use super::*;

mod handwritten;
mod real;

/// A node whose files are below a directory of its own.
struct Node(tempfile::TempDir);

impl Node {
    fn new() -> Node {
        let node = Node(tempfile::tempdir().unwrap());
        // So that namespaces are not those of the machine the test runs on.
        for (process, kind, target) in [
            (1, "net", "net:[1]"),
            (1, "pid", "pid:[1]"),
            (1, "ipc", "ipc:[1]"),
            (42, "net", "net:[1]"),
            (43, "net", "net:[2]"),
        ] {
            let directory = node.path().join(format!("proc/{process}/ns"));
            std::fs::create_dir_all(&directory).unwrap();
            std::os::unix::fs::symlink(target, directory.join(kind)).unwrap();
        }
        node
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn lookup(&self) -> Lookup {
        Lookup::new(self.path())
    }

    fn find(&self, id: &str, cgroup: &str) -> Found {
        self.lookup().find(id, None, cgroup)
    }
}

/// The container that must have been found, and whether it is complete.
fn known(found: Found) -> (Container, bool, u32) {
    match found {
        Found::Known {
            container,
            complete,
            cut,
        } => (*container, complete, cut),
        other => panic!("{other:?}"),
    }
}
