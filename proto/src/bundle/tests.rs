use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use proptest::prelude::*;
use tar::{Builder, EntryType, Header};

use super::*;

fn all(_: &str) -> bool {
    true
}

fn packed(root: &Path) -> Vec<u8> {
    pack(root, all, Vec::new()).unwrap().1
}

fn write(root: &Path, path: &str, text: &str, mode: u32) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
}

#[derive(Debug, Clone)]
enum Node {
    File(Vec<u8>, bool),
    Symlink(usize, String),
    Empty,
}

fn tree() -> impl Strategy<Value = Vec<(Vec<String>, Node)>> {
    let part = prop_oneof!["[ab.-]{0,3}[abé]", "[a-c]{90,130}"];
    let node = prop_oneof![
        (prop::collection::vec(any::<u8>(), 0..1500), any::<bool>())
            .prop_map(|(bytes, executable)| Node::File(bytes, executable)),
        (0..3usize, "[a-c]{1,120}").prop_map(|(up, name)| Node::Symlink(up, name)),
        Just(Node::Empty),
    ];
    prop::collection::vec((prop::collection::vec(part, 1..4), node), 0..12)
}

/// What does not fit with what is there is left out.
fn build(root: &Path, tree: &[(Vec<String>, Node)]) {
    for (path, node) in tree {
        let place = root.join(path.join("/"));
        if fs::create_dir_all(place.parent().unwrap()).is_err() || place.symlink_metadata().is_ok()
        {
            continue;
        }
        match node {
            Node::Empty => fs::create_dir(&place).unwrap(),
            Node::Symlink(up, name) => {
                let up = (*up).min(path.len() - 1);
                symlink(format!("{}{name}", "../".repeat(up)), &place).unwrap();
            }
            Node::File(bytes, executable) => {
                fs::write(&place, bytes).unwrap();
                let mode = if *executable { 0o700 } else { 0o640 };
                fs::set_permissions(&place, fs::Permissions::from_mode(mode)).unwrap();
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_was_unpacked_packs_to_the_same_bytes(tree in tree()) {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        build(one.path(), &tree);
        let (packed_one, bytes) = pack(one.path(), all, Vec::new()).unwrap();
        let unpacked = unpack(&bytes[..], other.path()).unwrap();
        prop_assert_eq!(&unpacked, &packed_one);
        prop_assert_eq!(bytes.len() as u64, unpacked.size);
        prop_assert!(packed(other.path()) == bytes);
        // Over itself, too.
        unpack(&bytes[..], other.path()).unwrap();
        prop_assert!(packed(other.path()) == bytes);
    }

    #[test]
    fn no_changed_byte_is_taken_for_the_same(tree in tree(), at: prop::sample::Index, bit in 0..8u32) {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        build(one.path(), &tree);
        let (packed, mut bytes) = pack(one.path(), all, Vec::new()).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= 1u8 << bit;
        if let Ok(unpacked) = unpack(&bytes[..], other.path()) {
            prop_assert_ne!(unpacked.hash, packed.hash);
            prop_assert!(super::tests::packed(other.path()) == bytes);
        }
    }

    #[test]
    fn a_bundle_that_was_cut_is_refused(tree in tree(), cut: prop::sample::Index) {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        build(one.path(), &tree);
        let bytes = packed(one.path());
        let cut = cut.index(bytes.len());
        let refused = matches!(unpack(&bytes[..cut], other.path()), Err(Error::Malformed { .. }));
        prop_assert!(refused);
    }
}

#[test]
fn ordinary_tar_reads_a_bundle() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "bin/deploy", "#!/bin/sh\n", 0o755);
    write(dir.path(), &format!("{}/{}", "d".repeat(120), "f".repeat(120)), "deep", 0o600);
    symlink("bin/deploy", dir.path().join("run")).unwrap();
    let bytes = packed(dir.path());
    let mut archive = tar::Archive::new(&bytes[..]);
    let entries = archive.entries().unwrap().map(|entry| {
        let entry = entry.unwrap();
        let mode = entry.header().mode().unwrap();
        (entry.path().unwrap().to_string_lossy().len(), mode)
    });
    let entries: Vec<_> = entries.collect();
    assert_eq!(entries, [(3, 0o755), (10, 0o755), (120, 0o755), (241, 0o644), (3, 0o777)]);
}

#[test]
fn only_what_is_wanted_is_packed_with_its_folders() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "out/a/x.conf", "x", 0o644);
    write(dir.path(), "out/b/y.log", "y", 0o644);
    let (found, bytes) = pack(dir.path(), |path| path.ends_with(".conf"), Vec::new()).unwrap();
    assert_eq!(found.files, 1);
    let other = tempfile::tempdir().unwrap();
    unpack(&bytes[..], other.path()).unwrap();
    assert_eq!(fs::read(other.path().join("out/a/x.conf")).unwrap(), b"x");
    assert!(!other.path().join("out/b").exists());
}

#[test]
fn what_cannot_be_packed_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let refusal = |path: &str| {
        let error = pack(dir.path(), all, Vec::new()).unwrap_err().to_string();
        fs::remove_file(dir.path().join(path)).unwrap();
        error
    };
    let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap();
    assert!(refusal("socket").starts_with("socket: it is neither"));
    for target in ["/etc/passwd", "..", "a/../..", "a/../b"] {
        symlink(target, dir.path().join("link")).unwrap();
        let words = refusal("link");
        assert!(words.starts_with(&format!("link: a symlink to {target} does not")), "{words}");
    }
}

#[test]
fn a_later_bundle_replaces_files_but_no_directories() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write(one.path(), "file", "old", 0o755);
    write(one.path(), "folder/x", "x", 0o644);
    symlink("folder", one.path().join("link")).unwrap();
    unpack(&packed(one.path())[..], other.path()).unwrap();

    let next = tempfile::tempdir().unwrap();
    write(next.path(), "file", "new", 0o644);
    write(next.path(), "link", "no link any more", 0o644);
    unpack(&packed(next.path())[..], other.path()).unwrap();
    assert_eq!(fs::read(other.path().join("file")).unwrap(), b"new");
    assert_eq!(fs::read(other.path().join("folder/x")).unwrap(), b"x");
    assert!(other.path().join("link").symlink_metadata().unwrap().is_file());

    let next = tempfile::tempdir().unwrap();
    write(next.path(), "folder", "a file", 0o644);
    let error = unpack(&packed(next.path())[..], other.path()).unwrap_err();
    assert!(matches!(error, Error::Refused { problem: Problem::InTheWay, .. }), "{error}");
}

/// What is in a hostile tar.
struct Hostile {
    kind: EntryType,
    path: &'static str,
    target: &'static str,
    size: u64,
}

fn entry(kind: EntryType, path: &'static str) -> Hostile {
    Hostile { kind, path, target: "", size: 0 }
}

fn link(path: &'static str, target: &'static str) -> Hostile {
    Hostile { target, ..entry(EntryType::Symlink, path) }
}

/// Canonical but for what is hostile about it.
fn hostile(entries: &[Hostile]) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    for entry in entries {
        let mut header = Header::new_gnu();
        header.set_entry_type(entry.kind);
        header.set_size(entry.size);
        header.set_mode(match entry.kind {
            EntryType::Directory => 0o755,
            EntryType::Symlink => 0o777,
            _ => 0o644,
        });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        let fields = header.as_gnu_mut().unwrap();
        fields.name[..entry.path.len()].copy_from_slice(entry.path.as_bytes());
        fields.linkname[..entry.target.len()].copy_from_slice(entry.target.as_bytes());
        header.set_cksum();
        tar.append(&header, &b""[..]).unwrap();
    }
    tar.into_inner().unwrap()
}

#[test]
fn hostile_bundles_are_refused_and_write_nothing_outside() {
    use EntryType::{Block, Char, Directory, Fifo, Link, Regular};
    let outer = tempfile::tempdir().unwrap();
    let into = outer.path().join("into");
    let cases: [(&[Hostile], Problem); 15] = [
        (&[entry(Regular, "/abs")], Problem::Path),
        (&[entry(Regular, "../up")], Problem::Path),
        (&[entry(Directory, "a"), entry(Regular, "a/../../up")], Problem::Path),
        (&[entry(Regular, "a//b")], Problem::Path),
        (&[entry(Regular, "./a")], Problem::Path),
        (&[entry(Directory, "")], Problem::Path),
        (&[link("l", "/etc")], Problem::Outside("/etc".into())),
        (&[link("l", "..")], Problem::Outside("..".into())),
        (&[link("l", "a/../..")], Problem::Outside("a/../..".into())),
        (&[link("l", "x"), entry(Regular, "l/file")], Problem::Orphan),
        (&[entry(Regular, "a"), entry(Regular, "a")], Problem::Order),
        (&[entry(Regular, "b"), entry(Regular, "a")], Problem::Order),
        (&[Hostile { target: "a", ..entry(Link, "hard") }], Problem::Kind),
        (&[entry(Char, "device")], Problem::Kind),
        (&[entry(Block, "device")], Problem::Kind),
    ];
    for (entries, expected) in cases {
        fs::create_dir(&into).unwrap();
        match unpack(&hostile(entries)[..], &into) {
            Err(Error::Refused { problem, .. }) => assert_eq!(problem, expected),
            other => panic!("{other:?}, expected {expected:?}"),
        }
        assert_eq!(fs::read_dir(outer.path()).unwrap().count(), 1);
        fs::remove_dir_all(&into).unwrap();
    }
    fs::create_dir(&into).unwrap();
    let fifo = unpack(&hostile(&[entry(Fifo, "fifo")])[..], &into);
    assert!(matches!(fifo, Err(Error::Refused { problem: Problem::Kind, .. })));
}

#[test]
fn a_symlink_that_is_there_is_never_written_through() {
    let outer = tempfile::tempdir().unwrap();
    let into = outer.path().join("into");
    fs::create_dir(&into).unwrap();
    symlink("..", into.join("l")).unwrap();
    let through = hostile(&[entry(EntryType::Directory, "l"), entry(EntryType::Regular, "l/file")]);
    let error = unpack(&through[..], &into).unwrap_err();
    assert!(matches!(error, Error::Refused { problem: Problem::InTheWay, .. }), "{error}");
    assert!(!outer.path().join("file").exists());
}

#[test]
fn sizes_and_counts_are_bounded_before_anything_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let huge = Hostile { size: MAX_SIZE, ..entry(EntryType::Regular, "huge") };
    assert!(matches!(unpack(&hostile(&[huge])[..], dir.path()), Err(Error::TooLarge)));
    let long = Hostile { size: 1 << 40, ..entry(EntryType::GNULongName, "././@LongLink") };
    assert!(matches!(unpack(&hostile(&[long])[..], dir.path()), Err(Error::Malformed { .. })));
    let mut writer = Writer::new(std::io::sink());
    assert!(matches!(
        writer.file("huge", false, MAX_SIZE, &mut std::io::repeat(0)),
        Err(Error::TooLarge)
    ));
    let mut rules = form::Rules::default();
    let mut admit = |n: usize| rules.admit(&format!("{n:07}"), &form::Kind::Directory);
    (0..MAX_ENTRIES).for_each(|n| admit(n).unwrap());
    assert!(matches!(admit(MAX_ENTRIES), Err(Error::TooMany)));
}

#[test]
fn a_bundle_is_listed_as_it_was_packed() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "out/fw.conf", "set x\n", 0o644);
    write(root.path(), "run.sh", "", 0o755);
    symlink("fw.conf", root.path().join("out/link")).unwrap();
    let bundle = packed(root.path());
    let (listed, whole) = list(&*bundle).unwrap();
    assert_eq!((whole.size, whole.files), (bundle.len() as u64, 3));
    assert_eq!(whole.hash, crate::content::hash(&*bundle).unwrap().0);
    let paths: Vec<_> = listed.iter().map(|it| it.path.as_str()).collect();
    assert_eq!(paths, ["out/fw.conf", "out/link", "run.sh"]);
    assert_eq!(listed[1].content, Content::Symlink { target: "fw.conf".into() });
    let Content::File { size: 6, hash, offset, executable: false } = &listed[0].content else {
        panic!("{listed:?}");
    };
    assert_eq!(*hash, crate::content::hash(&b"set x\n"[..]).unwrap().0);
    assert_eq!(&bundle[*offset as usize..][..6], b"set x\n");
    assert!(matches!(listed[2].content, Content::File { size: 0, executable: true, .. }));
    assert!(list(&bundle[..bundle.len() - 512]).is_err());
}
