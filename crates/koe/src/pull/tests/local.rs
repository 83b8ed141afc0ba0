//! Models from folders and bundles, some of them hostile.

use super::*;

/// The published files in a folder.
fn folder_of(files: &Files) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, content) in files.iter() {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    folder
}

#[test]
fn a_folder_is_a_source_and_is_proven_too() {
    let folder = folder_of(&files());
    let mut pull = Pull::new("http://127.0.0.1:1");
    pull.options.source = Source::local(folder.path());
    std::fs::remove_file(folder.path().join("voices/bf_c.pt")).unwrap();
    assert_eq!(pull.run().unwrap().voices(), ["af_a", "am_b"], "a folder may have fewer voices");
    pull.options.voices = Some(vec!["bf_c".to_owned()]);
    assert!(pull.complaint().ends_with("has no voices/bf_c.pt"));
    std::fs::write(folder.path().join("voices/bf_c.pt"), &files()["voices/bf_c.pt"]).unwrap();
    pull.run().unwrap();
    pull.check();

    for (path, content) in
        [(WEIGHTS, vec![0; WEIGHTS_BYTES]), (WEIGHTS, vec![0; 5]), ("config.json", vec![0; 20_000])]
    {
        let folder = folder_of(&files());
        std::fs::write(folder.path().join(path), content).unwrap();
        let mut pull = Pull::new("http://127.0.0.1:1");
        pull.options.source = Source::local(folder.path());
        let complaint = pull.complaint();
        assert!(complaint.contains(path), "{complaint}");
        assert!(pull.installed().is_none());
    }
    let mut pull = Pull::new("http://127.0.0.1:1");
    pull.options.source = Source::local(&folder.path().join("voices"));
    assert!(pull.complaint().contains("has no config.json"));
}

#[test]
fn a_bundle_carries_a_model_to_another_machine() {
    let server = honest();
    let mut pull = Pull::from(&server);
    let model = pull.run().unwrap();
    let bundle = pull.data.path().join("bundle.tar");
    export(&model, std::fs::File::create(&bundle).unwrap()).unwrap();
    let mut other = Pull::new("http://127.0.0.1:1");
    other.options.source = Source::local(&bundle);
    other.run().unwrap();
    other.check();

    let whole = std::fs::read(&bundle).unwrap();
    for n_bytes in (0..whole.len()).step_by(9_973) {
        let cut = other.data.path().join("cut.tar");
        std::fs::write(&cut, &whole[..n_bytes]).unwrap();
        let mut pull = Pull::new("http://127.0.0.1:1");
        pull.options.source = Source::local(&cut);
        assert_ne!(pull.complaint(), "no complaint", "{n_bytes} bytes");
        assert!(pull.installed().is_none());
    }
}

#[test]
fn a_bundle_cannot_write_anywhere_else() {
    let files = files();
    let entry = |name: &str, kind: tar::EntryType, content: &[u8]| {
        let mut header = tar::Header::new_ustar();
        // The library refuses such names; an attacker's does not.
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_cksum();
        let padding = content.len().next_multiple_of(512) - content.len();
        [header.as_bytes(), content, &vec![0; padding]].concat()
    };
    let complaint = |entries: &[Vec<u8>]| {
        let mut pull = Pull::new("http://127.0.0.1:1");
        let bundle = pull.data.path().join("bundle.tar");
        std::fs::write(&bundle, [&entries.concat()[..], &[0; 1024]].concat()).unwrap();
        pull.options.source = Source::Bundle(bundle);
        pull.complaint()
    };
    let regular = tar::EntryType::Regular;
    let all: Vec<Vec<u8>> =
        files.iter().map(|(path, content)| entry(&format!("./{path}"), regular, content)).collect();
    let with = |more: Vec<u8>| complaint(&[all.clone(), vec![more]].concat());
    assert_eq!(complaint(&all), "no complaint");
    assert_eq!(with(entry("tiny/README.md", regular, b"hello")), "no complaint");
    assert_eq!(with(entry("tiny/", tar::EntryType::Directory, b"")), "no complaint");
    for name in ["../evil", "/etc/evil", "tiny/../../evil", "tiny\\..\\evil"] {
        let complaint = with(entry(name, regular, b"evil"));
        assert!(complaint.contains("leave the folder"), "{name}: {complaint}");
    }
    for kind in [tar::EntryType::Symlink, tar::EntryType::Link, tar::EntryType::Fifo] {
        assert!(with(entry("tiny/config.json", kind, b"")).contains("a link or a device"));
    }
    let twice = with(entry("tiny/config.json", regular, &files["config.json"]));
    assert!(twice.contains("there twice"), "{twice}");
    let huge = complaint(&[entry("config.json", regular, &[0; 20_000])]);
    assert!(huge.contains("10000 at most"), "{huge}");
    assert!(complaint(&[entry("config.json", regular, b"{}")]).contains("not the published file"));
    let many = vec![entry("x", regular, b""); 5000];
    assert!(complaint(&many).contains("more than 4096 entries"));
}
