//! Where credentials are kept, by the rules of Docker, podman and skopeo.

use std::ffi::OsString;
use std::path::PathBuf;

/// The files that are looked at, and where helpers' programs are.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// Files in the order in which they are asked. One that does not exist is passed over.
    pub read: Vec<PathBuf>,
    /// The file that `login` writes.
    pub write: PathBuf,
    /// Folders of programs, as `PATH` lists them.
    pub programs: Vec<PathBuf>,
}

impl Places {
    /// The places that an environment names; `variable` looks one up. None when it names no home.
    ///
    /// `REGISTRY_AUTH_FILE` alone where it is set, as podman has it. Else Docker's file
    /// (`DOCKER_CONFIG`, or `~/.docker`), then podman's of this session and of this user.
    pub fn from_environment(variable: impl Fn(&str) -> Option<OsString>) -> Option<Self> {
        let folder = |name: &str| variable(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let programs =
            variable("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default();
        if let Some(file) = folder("REGISTRY_AUTH_FILE") {
            return Some(Self { read: vec![file.clone()], write: file, programs });
        }
        let home = folder("HOME");
        let docker = folder("DOCKER_CONFIG")
            .or_else(|| home.as_ref().map(|home| home.join(".docker")))?
            .join("config.json");
        let podman = [
            folder("XDG_RUNTIME_DIR"),
            folder("XDG_CONFIG_HOME").or_else(|| home.as_ref().map(|home| home.join(".config"))),
        ];
        let read = std::iter::once(docker.clone())
            .chain(podman.into_iter().flatten().map(|at| at.join("containers/auth.json")))
            .collect();
        Some(Self { read, write: docker, programs })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn places(set: &[(&str, &str)]) -> Option<Places> {
        Places::from_environment(|name| {
            set.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn dockers_file_comes_first_then_podmans() {
        let found =
            places(&[("HOME", "/h"), ("XDG_RUNTIME_DIR", "/r"), ("PATH", "/a:/b")]).unwrap();
        let files = ["/h/.docker/config.json", "/r/containers/auth.json"];
        assert_eq!(found.read[..2], files.map(PathBuf::from));
        assert_eq!(found.read[2], Path::new("/h/.config/containers/auth.json"));
        assert_eq!(found.write, Path::new(files[0]));
        assert_eq!(found.programs, [Path::new("/a"), Path::new("/b")]);
    }

    #[test]
    fn a_named_folder_or_file_takes_the_place() {
        let docker = places(&[("HOME", "/h"), ("DOCKER_CONFIG", "/d")]).unwrap();
        assert_eq!(docker.write, Path::new("/d/config.json"));
        let podman = places(&[("HOME", "/h"), ("REGISTRY_AUTH_FILE", "/a.json")]).unwrap();
        assert_eq!(podman.read, [Path::new("/a.json")]);
        assert_eq!(podman.write, Path::new("/a.json"));
        assert!(places(&[("HOME", "")]).is_none());
    }
}
