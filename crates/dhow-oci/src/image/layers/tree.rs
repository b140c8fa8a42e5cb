//! A root file system in memory: names and kinds, no bytes. Layers are laid over it entry by entry
//! (OCI image specification 1.1, `layer.md`); links are followed inside of it, as a process sees
//! them that has it as its root.

use std::collections::{BTreeMap, VecDeque, btree_map};
use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use super::members::{Kind, Member, refused};
use crate::image::budget::{Budget, MOST_LINKS};
use crate::image::error::PullError;

/// What whiteouts begin with.
const WHITEOUT: &[u8] = b".wh.";
/// What hides everything that lower layers have in its folder.
const OPAQUE: &[u8] = b".wh..wh..opq";

/// A file's bytes: the how-manieth entry of which layer, both from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct At {
    /// The layer.
    pub layer: usize,
    /// The entry.
    pub entry: usize,
}

/// A file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct File {
    /// Where its bytes are.
    pub at: At,
    /// How many there are.
    pub size: u64,
    /// Whether they begin as a module does.
    pub wasm: bool,
}

/// What a path leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// A file.
    File(File),
    /// A folder.
    Folder,
    /// A device, pipe or socket.
    Special,
}

#[derive(Debug, Clone)]
enum What {
    File(File),
    Folder(BTreeMap<OsString, Node>),
    Symlink(PathBuf),
    Special,
}

#[derive(Debug, Clone)]
struct Node {
    what: What,
    /// The layer that wrote it last.
    layer: usize,
}

/// The root file system.
#[derive(Debug, Clone)]
pub struct Tree {
    root: Node,
    depth: usize,
    /// Bytes of a path, with its links followed.
    length: usize,
    /// Bytes of the paths that [`Tree::files`] may give together.
    listed: usize,
    left: Left,
}

/// The modules in a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Modules {
    /// The first, by path.
    pub first: (PathBuf, File),
    /// How many there are.
    pub count: usize,
}

impl Tree {
    /// An empty one, within `budget`'s depth and lengths.
    pub fn new(budget: &Budget) -> Self {
        Self {
            root: Node { what: What::Folder(BTreeMap::new()), layer: 0 },
            depth: budget.path_depth,
            length: budget.path_bytes,
            listed: budget.names,
            left: Left {
                nodes: budget.entries,
                text: budget.names,
                budget: (budget.entries, budget.names),
            },
        }
    }

    /// Lays `member` over what is there. `at` says where it came from, `wasm` how it begins.
    ///
    /// # Errors
    /// [`PullError::UnsafePath`] for a path that has no place: its folder is a file, its links go
    /// round in circles, it was in this layer already.
    pub fn apply(&mut self, member: &Member, at: At, wasm: bool) -> Result<(), PullError> {
        let layer = at.layer;
        let Some(name) = member.path.file_name() else {
            // The root itself: it is a folder whatever the entry says.
            return Ok(());
        };
        let parent = member.path.parent().unwrap_or_else(|| Path::new(""));
        if let Some(hidden) = name.as_bytes().strip_prefix(WHITEOUT) {
            return self.white_out(&member.path, parent, name, hidden, layer);
        }
        let what = match &member.kind {
            Kind::File(size) => What::File(File { at, size: *size, wasm }),
            Kind::Folder => What::Folder(BTreeMap::new()),
            Kind::Symlink(target) => What::Symlink(target.clone()),
            Kind::Special => What::Special,
            Kind::Hardlink(target) => self.linked(target)?,
        };
        let target = if let What::Symlink(target) = &what { target.as_os_str().len() } else { 0 };
        self.left.take(1, name.len() + target)?;
        let folder = self.folder_for(&member.path, parent, layer)?;
        put(folder, &member.path, name, Node { what, layer })
    }

    /// What `path` leads to, links followed; it begins at the root.
    pub fn find(&self, path: &Path) -> Option<Found> {
        let place = self.resolve(path, Follow::All).ok()?;
        match &self.node(&place)?.what {
            What::File(file) => Some(Found::File(*file)),
            What::Folder(_) => Some(Found::Folder),
            What::Special => Some(Found::Special),
            What::Symlink(_) => None,
        }
    }

    /// The longest path that leads anywhere, bytes.
    pub fn longest_path(&self) -> usize {
        self.length
    }

    /// Its files with their paths, by path.
    ///
    /// # Errors
    /// [`PullError::TooLarge`] when the paths together have more bytes than all names may have: a
    /// name is held once, but it is in the path of everything below it.
    pub fn files(&self) -> Result<Vec<(PathBuf, File)>, PullError> {
        let (mut files, mut left) = (Vec::new(), self.listed);
        self.each::<PullError>(|path, file| {
            left = left.checked_sub(path.as_os_str().len()).ok_or_else(|| {
                over("the paths of its files together", format!("{} bytes", self.listed))
            })?;
            files.push((path.to_owned(), file));
            Ok(())
        })?;
        Ok(files)
    }

    /// Its modules; `None` where it has none.
    pub fn modules(&self) -> Option<Modules> {
        let mut modules: Option<Modules> = None;
        let Ok(()) = self.each::<Infallible>(|path, file| {
            match &mut modules {
                _ if !file.wasm => {}
                Some(modules) => modules.count += 1,
                None => modules = Some(Modules { first: (path.to_owned(), file), count: 1 }),
            }
            Ok(())
        });
        modules
    }

    /// Gives each file with its path to `hear`, by path. No more than one path is held at a time.
    fn each<E>(&self, mut hear: impl FnMut(&Path, File) -> Result<(), E>) -> Result<(), E> {
        let mut path = PathBuf::new();
        let mut folders: Vec<_> = children(&self.root).into_iter().collect();
        while let Some(ahead) = folders.last_mut() {
            let Some((name, node)) = ahead.next() else {
                folders.pop();
                path.pop();
                continue;
            };
            path.push(name);
            match &node.what {
                What::Folder(within) => {
                    folders.push(within.iter());
                    continue;
                }
                What::File(file) => hear(&path, *file)?,
                What::Symlink(_) | What::Special => {}
            }
            path.pop();
        }
        Ok(())
    }

    /// Removes what lower layers have under a whiteout's name. What this layer wrote stays, before
    /// and after.
    fn white_out(
        &mut self,
        path: &Path,
        parent: &Path,
        name: &OsStr,
        hidden: &[u8],
        layer: usize,
    ) -> Result<(), PullError> {
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(refused(path.as_os_str().as_bytes(), "it hides no name"));
        }
        let Ok(place) = self.resolve(parent, Follow::All) else { return Ok(()) };
        let Some(What::Folder(children)) = self.node_mut(&place).map(|node| &mut node.what) else {
            return Ok(());
        };
        if name.as_bytes() == OPAQUE {
            children.retain(|_, child| keep_of_layer(child, layer));
        } else if !hidden.starts_with(WHITEOUT) {
            // Further names that begin with two prefixes are aufs's own and mean nothing here.
            let hidden = OsStr::from_bytes(hidden);
            if children.get_mut(hidden).is_some_and(|child| !keep_of_layer(child, layer)) {
                children.remove(hidden);
            }
        }
        Ok(())
    }

    /// What a hard link to `target` is: the same file, or the same link.
    fn linked(&self, target: &Path) -> Result<What, PullError> {
        let bytes = target.as_os_str().as_bytes();
        let place = self.resolve(target, Follow::Folders);
        match place.ok().and_then(|place| self.node(&place)).map(|node| &node.what) {
            Some(what @ (What::File(_) | What::Symlink(_) | What::Special)) => Ok(what.clone()),
            Some(What::Folder(_)) => Err(refused(bytes, "a hard link to a folder")),
            None => Err(refused(bytes, "a hard link to what is not there")),
        }
    }

    /// The folder `parent` of `path`, links followed, made where it is missing.
    fn folder_for(
        &mut self,
        path: &Path,
        parent: &Path,
        layer: usize,
    ) -> Result<&mut BTreeMap<OsString, Node>, PullError> {
        let bytes = path.as_os_str().as_bytes();
        let place = self.resolve(parent, Follow::Making).map_err(|why| refused(bytes, why))?;
        // Links may have made it longer than it is written.
        let names = place.iter().map(|name| name.len() + 1).sum::<usize>();
        if names + path.file_name().map_or(0, OsStr::len) > self.length {
            return Err(refused(bytes, "it is too long"));
        }
        if place.len() >= self.depth {
            return Err(refused(bytes, "it is too deep"));
        }
        let mut made = (0, 0);
        let mut children = match &mut self.root.what {
            What::Folder(children) => children,
            _ => unreachable!("the root is made as a folder and never replaced"),
        };
        for name in place {
            if !children.contains_key(&name) {
                made = (made.0 + 1, made.1 + name.len());
            }
            let node = children
                .entry(name)
                .or_insert_with(|| Node { what: What::Folder(BTreeMap::new()), layer });
            children = match &mut node.what {
                What::Folder(children) => children,
                _ => return Err(refused(bytes, "its folder is a file")),
            };
        }
        self.left.take(made.0, made.1)?;
        Ok(children)
    }

    fn node_mut(&mut self, place: &[OsString]) -> Option<&mut Node> {
        place.iter().try_fold(&mut self.root, |node, name| match &mut node.what {
            What::Folder(children) => children.get_mut(name),
            _ => None,
        })
    }

    fn node(&self, place: &[OsString]) -> Option<&Node> {
        place.iter().try_fold(&self.root, |node, name| child(node, name))
    }

    /// The names on the way to `path`, without links; `..` at the root stays there.
    fn resolve(&self, path: &Path, follow: Follow) -> Result<Vec<OsString>, &'static str> {
        let mut ahead: VecDeque<Component<'_>> = path.components().collect();
        let mut done: Vec<(&OsStr, Option<&Node>)> = Vec::new();
        let (mut links, mut length) = (0, 0);
        while let Some(component) = ahead.pop_front() {
            let name = match component {
                Component::Normal(name) => name,
                Component::ParentDir => {
                    length -= done.pop().map_or(0, |(name, _)| name.len() + 1);
                    continue;
                }
                Component::RootDir => {
                    done.clear();
                    length = 0;
                    continue;
                }
                Component::CurDir | Component::Prefix(_) => continue,
            };
            let here = done.last().map_or(Some(&self.root), |(_, node)| *node);
            let next = here.and_then(|node| child(node, name));
            match next.map(|node| &node.what) {
                Some(What::Symlink(target)) if follow != Follow::Folders || !ahead.is_empty() => {
                    links += 1;
                    if links > MOST_LINKS {
                        return Err("its links go round in circles");
                    }
                    for component in target.components().rev() {
                        ahead.push_front(component);
                    }
                }
                None if follow != Follow::Making => return Err("it is not there"),
                _ => {
                    length += name.len() + 1;
                    done.push((name, next));
                }
            }
            if done.len() > self.depth {
                return Err("it is too deep");
            }
            // Each name is counted with a slash, the last too.
            if length > self.length + 1 {
                return Err("it is too long");
            }
        }
        Ok(done.into_iter().map(|(name, _)| name.to_owned()).collect())
    }
}

/// How far links are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Follow {
    /// All of them; everything must be there.
    All,
    /// All but the last name's; everything must be there.
    Folders,
    /// All of them; what is missing is about to be made.
    Making,
}

/// What a tree may still grow by. Folders that an entry's path makes by the way are counted too,
/// or one small entry could make a hundred.
#[derive(Debug, Clone)]
struct Left {
    nodes: u64,
    text: usize,
    budget: (u64, usize),
}

impl Left {
    fn take(&mut self, nodes: u64, text: usize) -> Result<(), PullError> {
        let (most_nodes, most_text) = self.budget;
        self.nodes = self.nodes.checked_sub(nodes).ok_or_else(|| {
            over("the number of files and folders in its layers", most_nodes.to_string())
        })?;
        self.text = self
            .text
            .checked_sub(text)
            .ok_or_else(|| over("the names in its layers", format!("{most_text} bytes")))?;
        Ok(())
    }
}

fn over(what: &str, most: String) -> PullError {
    PullError::TooLarge { what: what.to_owned(), most }
}

fn children(node: &Node) -> Option<btree_map::Iter<'_, OsString, Node>> {
    match &node.what {
        What::Folder(children) => Some(children.iter()),
        _ => None,
    }
}

fn child<'n>(node: &'n Node, name: &OsStr) -> Option<&'n Node> {
    match &node.what {
        What::Folder(children) => children.get(name),
        _ => None,
    }
}

/// Removes from `node` what lower layers than `layer` wrote, and says whether anything is left.
fn keep_of_layer(node: &mut Node, layer: usize) -> bool {
    match &mut node.what {
        What::Folder(children) => {
            children.retain(|_, child| keep_of_layer(child, layer));
            !children.is_empty() || node.layer == layer
        }
        _ => node.layer == layer,
    }
}

/// Puts `node` under `name`. A folder over a folder keeps what is in it; everything else replaces
/// what a lower layer had there, and nothing may come twice in one layer.
fn put(
    folder: &mut BTreeMap<OsString, Node>,
    path: &Path,
    name: &OsStr,
    node: Node,
) -> Result<(), PullError> {
    match folder.get_mut(name) {
        Some(Node { what: What::Folder(_), layer }) if matches!(node.what, What::Folder(_)) => {
            *layer = node.layer;
        }
        Some(there) if there.layer == node.layer => {
            return Err(refused(path.as_os_str().as_bytes(), "it comes twice in one layer"));
        }
        Some(there) => *there = node,
        None => {
            folder.insert(name.to_owned(), node);
        }
    }
    Ok(())
}
