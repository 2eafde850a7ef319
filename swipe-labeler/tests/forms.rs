//! Labels go out in every form and come back the same; what other programs sorted comes in.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use curator_core::dataset::Label;
use curator_core::{Context, Raster};
use curator_labeling::{Event, Rule, Store};
use swipe_labeler::export::{self, ExportConfig, Form, Link};
use swipe_labeler::import::{self, ImportConfig};
use swipe_labeler::labels;

const FORMS: [Form; 7] = [
    Form::Folders,
    Form::Imagefolder,
    Form::Csv,
    Form::Parquet,
    Form::Coco,
    Form::LabelStudio,
    Form::Fiftyone,
];

/// Eight pictures with odd names, labelled by two people; nothing is disputed but the last.
fn labelled(dir: &Path) -> (PathBuf, PathBuf) {
    let (tiles, labels) = (dir.join("tiles"), dir.join("labels"));
    let mut events = Vec::new();
    for i in 0..8_u8 {
        let id = format!("it's a $class/pi,c \"{i}\".png");
        let path = tiles.join(&id);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, Raster::filled(8, 4, &[i * 20, 7, 9]).to_png().unwrap()).unwrap();
        let (label, class) = match i % 4 {
            0 => (Label::Positive, "beach"),
            1 => (Label::Positive, "rivière"),
            2 => (Label::Negative, ""),
            _ => (Label::Unsure, ""),
        };
        let at = format!("2026-01-02T03:04:0{i}.000Z");
        let answer = Event::answer(&format!("key-{i}"), &id, label, "Ann", &at);
        let answer = Event { class: class.into(), milliseconds: Some(900), flag: i == 2, ..answer };
        if i == 7 {
            let other = Event::answer("key-other", &id, Label::Negative, "Bob", &at);
            events.push(other);
        }
        events.push(answer);
    }
    Store::open(&labels).unwrap().append(&events).unwrap();
    (tiles, labels)
}

/// What holds, by tile.
fn held(labels: &Path) -> BTreeMap<String, (Label, String)> {
    let verdicts = labels::read(labels, Rule::Majority).unwrap();
    verdicts.into_iter().map(|(id, v)| (id, (v.event.label, v.event.class))).collect()
}

fn export(labels: &Path, tiles: &Path, form: Form, link: Link, output: &Path) -> export::Report {
    let config = ExportConfig {
        labels: labels.into(),
        tiles: Some(tiles.into()),
        form,
        link,
        rule: Rule::Majority,
        output: output.into(),
    };
    export::run(&config, &Context::silent()).unwrap()
}

fn import(input: &Path, form: Form, tiles: Option<&Path>, output: &Path) -> import::Report {
    let config = ImportConfig {
        input: input.into(),
        form,
        tiles: tiles.map(Into::into),
        by_content: true,
        who: "import".into(),
        output: output.into(),
    };
    import::run(&config, &Context::silent()).unwrap()
}

#[test]
fn every_form_comes_back_as_it_went() {
    let dir = tempfile::tempdir().unwrap();
    let (tiles, labels) = labelled(dir.path());
    let before = held(&labels);
    assert_eq!(before.len(), 8);
    for form in FORMS {
        let out = dir.path().join(format!("{form:?}"));
        let report = export(&labels, &tiles, form, Link::Copy, &out);
        assert_eq!((report.missing, report.disputed), (0, 1), "{form:?}");
        for with_tiles in [true, false] {
            let back = dir.path().join(format!("{form:?}-back-{with_tiles}"));
            let tiles = with_tiles.then_some(tiles.as_path());
            let first = import(&out, form, tiles, &back);
            assert_eq!((first.added, first.missing), (first.read, 0), "{form:?}");
            assert_eq!(import(&out, form, tiles, &back).added, 0, "{form:?} again");
            let mut wanted = before.clone();
            if form == Form::Imagefolder {
                wanted.retain(|_, (label, _)| *label != Label::Unsure);
            }
            assert_eq!(held(&back), wanted, "{form:?} {with_tiles}");
        }
    }
    // Who and when come back too, and of Label Studio every person's answer.
    let csv = Store::open(&dir.path().join("Csv-back-true")).unwrap().answers().unwrap();
    assert!(csv.iter().any(|e| e.who == "Ann" && e.at == "2026-01-02T03:04:02.000Z" && e.flag));
    let both = Store::open(&dir.path().join("LabelStudio-back-true")).unwrap().answers().unwrap();
    assert_eq!(both.len(), 9);
    assert!(both.iter().any(|e| e.who == "Bob" && e.label == Label::Negative));
}

#[cfg(unix)]
#[test]
fn originals_stay_whatever_way_pictures_are_linked() {
    use std::os::unix::fs::MetadataExt;
    let dir = tempfile::tempdir().unwrap();
    let (tiles, labels) = labelled(dir.path());
    let list = || {
        let mut files: Vec<_> = std::fs::read_dir(tiles.join("it's a $class"))
            .unwrap()
            .map(|e| e.unwrap())
            .map(|e| (e.file_name(), std::fs::read(e.path()).unwrap()))
            .collect();
        files.sort();
        files
    };
    let before = list();
    for link in [Link::Copy, Link::Hard, Link::Symbolic] {
        let out = dir.path().join(format!("{link:?}"));
        assert_eq!(export(&labels, &tiles, Form::Folders, link, &out).exported, 8);
        let beaches: Vec<_> =
            std::fs::read_dir(out.join("beach")).unwrap().map(|e| e.unwrap().path()).collect();
        assert_eq!(beaches.len(), 2);
        let file = std::fs::symlink_metadata(&beaches[0]).unwrap();
        assert_eq!(file.is_symlink(), link == Link::Symbolic);
        assert_eq!(file.nlink() > 1, link == Link::Hard);
        let bytes = std::fs::read(&beaches[0]).unwrap();
        assert!(before.iter().any(|(_, original)| *original == bytes));
    }
    assert_eq!(list(), before);
}

/// The predecessor moved pictures into these folders, and wrote nothing else.
#[test]
fn sorted_folders_of_other_programs_come_in_by_name_or_by_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let (tiles, _) = labelled(dir.path());
    let sorted = dir.path().join("sorted");
    let originals = tiles.join("it's a $class");
    for (i, folder, name) in [
        (0, "positive", "pi,c \"0\".png"),
        (1, "Negative", "pi,c \"1\".png"),
        (2, "unsure", "pi,c \"2\".png"),
        (3, "positive", "renamed.png"),
    ] {
        std::fs::create_dir_all(sorted.join(folder)).unwrap();
        let original = originals.join(format!("pi,c \"{i}\".png"));
        std::fs::copy(original, sorted.join(folder).join(name)).unwrap();
    }
    std::fs::write(
        sorted.join("positive/stranger.png"),
        Raster::filled(3, 3, &[1, 1, 1]).to_png().unwrap(),
    )
    .unwrap();
    let back = dir.path().join("back");
    let report = import(&sorted, Form::Folders, Some(&tiles), &back);
    assert_eq!((report.read, report.added, report.missing), (5, 4, 1));
    let held = held(&back);
    let label = |i: u8| held[&format!("it's a $class/pi,c \"{i}\".png")].0;
    assert_eq!(
        [0, 1, 2, 3].map(label),
        [Label::Positive, Label::Negative, Label::Unsure, Label::Positive]
    );
}

#[test]
fn a_picture_that_was_moved_to_another_folder_has_that_folders_label() {
    let dir = tempfile::tempdir().unwrap();
    let (tiles, labels) = labelled(dir.path());
    let out = dir.path().join("out");
    export(&labels, &tiles, Form::Folders, Link::Copy, &out);
    let moved = std::fs::read_dir(out.join("beach")).unwrap().next().unwrap().unwrap();
    std::fs::rename(moved.path(), out.join("negative").join(moved.file_name())).unwrap();
    let back = dir.path().join("back");
    import(&out, Form::Folders, Some(&tiles), &back);
    let changed = held(&labels).into_iter().filter(|(id, said)| held(&back)[id] != *said).count();
    assert_eq!(changed, 1);
}

#[test]
fn documents_of_other_programs_are_read_and_broken_ones_are_errors() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let studio = file(
        "ls.json",
        r#"[{"id":7,"data":{"image":"/data/upload/3/ab-x.png"},"annotations":[
        {"completed_by":{"email":"ann@example.org"},"created_at":"2026-01-01T00:00:00Z","lead_time":1.5,
         "result":[{"type":"choices","value":{"choices":["accept"]}}]},
        {"was_cancelled":true,"result":[]}]}, {"data":{"image":"y.png"}}]"#,
    );
    let coco = file(
        "coco.json",
        r#"{"images":[{"id":"a","file_name":"x.png"},{"id":2,"file_name":"y.png"}],
        "categories":[{"id":5,"name":"ship"},{"id":6,"name":"positive"}],
        "annotations":[{"image_id":"a","category_id":5},{"image_id":"a","category_id":5},{"image_id":"a","category_id":6}]}"#,
    );
    let fifty = file(
        "fo.json",
        r#"{"classes":["no","ship"],"labels":{"x":1,"y":0,"z":null,"w":{"label":"maybe"}}}"#,
    );
    let read = |path: &Path, form: Form| {
        let out = dir.path().join(format!("out-{form:?}"));
        import(path, form, None, &out);
        held(&out).into_iter().map(|(id, (label, class))| (id, label, class)).collect::<Vec<_>>()
    };
    let of = |id: &str, label: Label, class: &str| (id.to_string(), label, class.to_string());
    assert_eq!(read(&studio, Form::LabelStudio), [of("ab-x.png", Label::Positive, "")]);
    assert_eq!(read(&coco, Form::Coco), [of("x.png", Label::Positive, "ship")]);
    assert_eq!(
        read(&fifty, Form::Fiftyone),
        [
            of("w", Label::Unsure, ""),
            of("x", Label::Positive, "ship"),
            of("y", Label::Negative, "")
        ]
    );
    for (form, text) in [
        (Form::LabelStudio, "{}"),
        (
            Form::Coco,
            r#"{"images":[{"id":1,"file_name":"x"}],"categories":[],"annotations":[{"image_id":1,"category_id":9}]}"#,
        ),
        (Form::Fiftyone, r#"{"classes":["a"],"labels":{"x":7}}"#),
        (Form::Csv, "tile,said\nx,y\n"),
        (Form::Parquet, "PAR1 no"),
        (Form::Coco, "\u{0}"),
    ] {
        let config = ImportConfig {
            input: file("bad", text),
            form,
            tiles: None,
            by_content: false,
            who: "x".into(),
            output: dir.path().join("bad-out"),
        };
        assert!(import::run(&config, &Context::silent()).is_err(), "{form:?} {text}");
    }
}
