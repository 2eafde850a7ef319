//! `ssl-learner train` and `preview`, the real binary on small pictures.

use std::path::Path;
use std::process::Command;

use curator_core::Raster;

mod common;

use common::{SMALL, expect, kill_at_checkpoint, pictures, weights};

#[test]
fn a_model_is_all_its_files_and_trained_once() {
    let (tiles, place) = (pictures(40), tempfile::tempdir().unwrap());
    let model = place.path().join("model");
    let words = format!("{SMALL} --epochs 2 --validation 0.2 --method vicreg --clip 1");
    let text = expect(0, &words, tiles.path(), &model);
    assert!(text.contains("20 nearest neighbours on 40 images"), "{text}");
    for part in ["config.json", "metrics.jsonl", "curves.html", "verdict.json", "tensorboard"] {
        assert!(model.join(part).exists(), "{part}");
    }
    assert!(!model.join("checkpoints").exists());
    let metrics = std::fs::read_to_string(model.join("metrics.jsonl")).unwrap();
    assert_eq!(metrics.lines().count(), 2);
    let last: serde_json::Value = serde_json::from_str(metrics.lines().last().unwrap()).unwrap();
    for name in ["loss", "validation_loss", "gradient_norm", "rank", "knn_accuracy", "stalled"] {
        assert!(last[name].is_number(), "{name}: {last}");
    }
    assert!(expect(0, &words, tiles.path(), &model).contains("up to date"));
    let other = format!("{words} --seed 5");
    assert!(expect(2, &other, tiles.path(), &model).contains("--force"));
    expect(0, &format!("{other} --force"), tiles.path(), &model);
}

#[test]
fn where_pictures_are_kept_changes_nothing() {
    let (tiles, place) = (pictures(40), tempfile::tempdir().unwrap());
    let digests = ["", " --cache-mb 0", " --cache-mb 0 --disk-cache-mb 100"].map(|kept| {
        let model = place.path().join(format!("model{kept}"));
        expect(0, &format!("{SMALL} --epochs 2{kept}"), tiles.path(), &model);
        weights(&model)
    });
    assert!(digests.iter().all(|digest| digest == &digests[0]));
}

#[test]
fn an_interrupted_run_continues_to_the_same_weights() {
    let (tiles, place) = (pictures(48), tempfile::tempdir().unwrap());
    let words = format!(
        "{SMALL} --epochs 30 --validation 0.2 --accumulate 2 --optimizer lars --method simsiam"
    );
    let whole = place.path().join("whole");
    expect(0, &words, tiles.path(), &whole);

    let broken = place.path().join("broken");
    // The second time it is killed right after it has begun to continue.
    kill_at_checkpoint(&words, tiles.path(), &broken);
    kill_at_checkpoint(&words, tiles.path(), &broken);
    assert!(expect(2, &format!("{words} --seed 9"), tiles.path(), &broken).contains("unfinished"));
    let text = expect(0, &words, tiles.path(), &broken);
    assert!(text.contains("continuing at step"), "{text}");
    assert_eq!(weights(&whole), weights(&broken));
    let losses = |model: &Path| -> Vec<_> {
        let text = std::fs::read_to_string(model.join("metrics.jsonl")).unwrap();
        let lines = text.lines().map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap());
        lines.map(|l| (l["loss"].clone(), l["validation_loss"].clone())).collect()
    };
    assert_eq!(losses(&whole), losses(&broken));
}

#[test]
fn simsiam_without_its_stop_gradient_collapses_and_the_alarm_rings() {
    let (tiles, place) = (pictures(128), tempfile::tempdir().unwrap());
    let words = "train --arch minicnn --input-size 32 --batch-size 64 --method simsiam --lr 0.01 --epochs 20 --monitor-every 1";
    let collapsed = place.path().join("collapsed");
    let text = expect(0, &format!("{words} --no-stop-gradient"), tiles.path(), &collapsed);
    assert!(text.contains("have collapsed") && text.contains("--method simclr"), "{text}");
    let text = expect(0, words, tiles.path(), &place.path().join("alive"));
    assert!(!text.contains("have collapsed"), "{text}");
}

#[test]
fn early_stopping_keeps_the_best_weights() {
    let (tiles, place) = (pictures(48), tempfile::tempdir().unwrap());
    let words = format!("{SMALL} --epochs 500 --validation 0.3 --patience 3 --lr 0.03");
    let text = expect(0, &words, tiles.path(), &place.path().join("model"));
    assert!(text.contains("no lower loss on held-out images for 3 epochs"), "{text}");
    assert!(text.contains("keeping the weights of epoch"), "{text}");
}

#[test]
fn a_loss_that_is_no_number_stops_and_keeps_the_last_checkpoint() {
    let (tiles, place) = (pictures(48), tempfile::tempdir().unwrap());
    let model = place.path().join("model");
    let words = format!("{SMALL} --epochs 50 --optimizer sgd --lr 1e30 --warm-up 0.2");
    let text = expect(1, &words, tiles.path(), &model);
    assert!(text.contains("at step") && text.contains("smaller `--lr`"), "{text}");
    assert!(!model.join("manifest.json").exists());
}

#[test]
fn input_that_makes_no_sense_is_refused_with_a_reason() {
    let (tiles, place) = (pictures(8), tempfile::tempdir().unwrap());
    let model = place.path().join("model");
    for (code, flags, said) in [
        (2, "--temperature 0", "above 0"),
        (2, "--batch-size 1", "2.."),
        (2, "--max-minutes=-3", "above 0"),
        (2, "--epochs 0", "1.."),
        (2, "--patience 2 --validation 7", "0 to 0.9"),
        (2, "--views mine", "no such views"),
        (2, "--views nowhere.toml", "nowhere.toml"),
        (2, "--arch vgg", "resnet18"),
        (1, "--weights nowhere.safetensors", "nowhere.safetensors"),
        (1, "--positives temporal", "temporal partner"),
    ] {
        let text = expect(code, &format!("train {flags}"), tiles.path(), &model);
        assert!(text.contains(said), "{flags}: {text}");
    }
    let few = pictures(5);
    let text = expect(1, SMALL, few.path(), &model);
    assert!(text.contains("5 readable images") && text.contains("at least 8"), "{text}");
}

#[test]
fn a_corrupt_image_is_said_once_and_skipped() {
    for kept in ["", " --cache-mb 0"] {
        let (tiles, place) = (pictures(24), tempfile::tempdir().unwrap());
        std::fs::write(tiles.path().join("bars/broken.jpg"), b"\xff\xd8\xff\xe0 no more").unwrap();
        let model = place.path().join("model");
        let text = expect(3, &format!("{SMALL} --epochs 3{kept}"), tiles.path(), &model);
        assert_eq!(text.matches("skipped: ").count(), 1, "{text}");
    }
}

#[test]
fn starting_weights_are_taken_or_their_names_listed() {
    let (tiles, place) = (pictures(24), tempfile::tempdir().unwrap());
    let first = place.path().join("first");
    expect(0, &format!("{SMALL} --epochs 1"), tiles.path(), &first);
    let file = first.join("encoder.safetensors");
    let words = format!("{SMALL} --epochs 1 --weights {}", file.display());
    let text = expect(0, &words, tiles.path(), &place.path().join("second"));
    assert!(text.contains("starting weights 0."), "{text}");
    let words = format!("train --arch resnet18 --epochs 1 --weights {}", file.display());
    let text = expect(1, &words, tiles.path(), &place.path().join("third"));
    assert!(text.contains("`bn1.bias` is missing") && text.contains("more"), "{text}");
    std::fs::write(&file, b"no weights").unwrap();
    let text = expect(1, &words, tiles.path(), &place.path().join("third"));
    assert!(text.contains("encoder.safetensors"), "{text}");
}

#[test]
fn a_preview_shows_presets_and_files_of_views() {
    let (tiles, place) = (pictures(9), tempfile::tempdir().unwrap());
    let views = place.path().join("mine.toml");
    std::fs::write(&views, "rotate = false\nnoise = 0.1\ncutout = 1.0\n").unwrap();
    for (name, file) in [("simclr", "a.jpg"), (views.to_str().unwrap(), "b.png")] {
        let sheet = place.path().join(file);
        expect(0, &format!("preview --views {name} -n 3"), tiles.path(), &sheet);
        let image = Raster::decode(file, &std::fs::read(&sheet).unwrap()).unwrap();
        assert_eq!((image.width, image.height), (9 * 68 + 8, 3 * 68 + 4));
    }
    std::fs::write(&views, "rotat = false\n").unwrap();
    let words = format!("preview --views {}", views.display());
    assert!(expect(2, &words, tiles.path(), &place.path().join("c.png")).contains("rotat"));
}

#[test]
fn pictures_of_all_sizes_and_kinds_are_one_set() {
    let (tiles, place) = (pictures(12), tempfile::tempdir().unwrap());
    for (number, (width, height)) in [(7, 90), (300, 20), (1, 1), (64, 64)].into_iter().enumerate()
    {
        let raster = Raster::filled(width, height, &[200, 90, 10]);
        let path = tiles.path().join("bars").join(format!("odd{number}.png"));
        std::fs::write(path, raster.to_png().unwrap()).unwrap();
        let path = tiles.path().join("discs").join(format!("odd{number}.jpg"));
        std::fs::write(path, raster.to_jpeg(90).unwrap()).unwrap();
    }
    // Grey, with transparency, of 16 bits, of one bit, in a palette.
    for (name, kind, bits, bytes) in [
        ("grey", png::ColorType::Grayscale, png::BitDepth::Eight, 1),
        ("alpha", png::ColorType::Rgba, png::BitDepth::Eight, 4),
        ("deep", png::ColorType::Rgb, png::BitDepth::Sixteen, 6),
        ("flat", png::ColorType::GrayscaleAlpha, png::BitDepth::Sixteen, 4),
    ] {
        let file = std::fs::File::create(tiles.path().join("bars").join(format!("{name}.png")));
        let mut encoder = png::Encoder::new(file.unwrap(), 40, 30);
        encoder.set_color(kind);
        encoder.set_depth(bits);
        let data: Vec<u8> = (0..40 * 30 * bytes).map(|i| (i % 251) as u8).collect();
        encoder.write_header().unwrap().write_image_data(&data).unwrap();
    }
    let words = format!("{SMALL} --epochs 2");
    let text = expect(0, &words, tiles.path(), &place.path().join("model"));
    assert!(text.contains("trained on 24 images"), "{text}");
}

#[test]
fn ctrl_c_ends_with_130_and_the_same_command_continues() {
    let (tiles, place) = (pictures(48), tempfile::tempdir().unwrap());
    let words = format!("{SMALL} --epochs 30");
    let whole = place.path().join("whole");
    expect(0, &words, tiles.path(), &whole);
    let model = place.path().join("model");
    let mut child = Command::new(env!("CARGO_BIN_EXE_ssl-learner"))
        .arg("train")
        .arg(tiles.path())
        .arg("-o")
        .arg(&model)
        .args(words.split(' ').skip(1))
        .args(["-j", "1", "-q"])
        .spawn()
        .unwrap();
    while !model.join("metrics.jsonl").exists() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(
        model.join("checkpoints/last.safetensors").exists()
            && !model.join("manifest.json").exists()
    );
    assert!(expect(0, &words, tiles.path(), &model).contains("continuing at step"));
    assert_eq!(weights(&whole), weights(&model));
}

#[test]
fn a_disk_that_fills_during_a_checkpoint_is_said_and_nothing_is_half_written() {
    let (tiles, place) = (pictures(24), tempfile::tempdir().unwrap());
    let model = place.path().join("model");
    // Files may not grow beyond half a megabyte: writing fails as on a full disk.
    let script = "trap '' XFSZ; ulimit -f 1000; exec \"$0\" \"$@\"";
    let done = Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_ssl-learner"), "train"])
        .arg(tiles.path())
        .arg("-o")
        .arg(&model)
        .args(SMALL.split(' ').skip(1))
        .args(["--epochs", "2", "-j", "1", "--no-progress"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(1), "{text}");
    assert!(text.contains("cannot write") && text.contains("last.safetensors"), "{text}");
    let left: Vec<_> = std::fs::read_dir(model.join("checkpoints")).unwrap().collect();
    assert_eq!(left.len(), 1, "only what began it: {left:?}");
    expect(0, &format!("{SMALL} --epochs 2"), tiles.path(), &model);
}

#[test]
fn a_checkpoint_that_does_not_fit_is_refused_by_name() {
    let (tiles, place) = (pictures(24), tempfile::tempdir().unwrap());
    let (model, other) = (place.path().join("model"), place.path().join("other"));
    expect(0, &format!("{SMALL} --epochs 1"), tiles.path(), &other);
    let checkpoint = model.join("checkpoints/last.safetensors");
    for (contents, said) in [
        (std::fs::read(other.join("encoder.safetensors")).unwrap(), "is missing"),
        (b"cut".to_vec(), "is damaged"),
    ] {
        std::fs::create_dir_all(model.join("checkpoints")).unwrap();
        std::fs::write(&checkpoint, contents).unwrap();
        let text = expect(1, &format!("{SMALL} --epochs 1"), tiles.path(), &model);
        assert!(text.contains("last.safetensors") && text.contains(said), "{text}");
        assert!(text.contains("remove `"), "{text}");
    }
    std::fs::remove_dir_all(model.join("checkpoints")).unwrap();
    expect(0, &format!("{SMALL} --epochs 1"), tiles.path(), &model);
}

#[test]
fn replicas_learn_what_one_device_learns() {
    let (tiles, place) = (pictures(40), tempfile::tempdir().unwrap());
    // A ResNet, whose batches are normalised, and one step, in 32 bits: after more of them such a network on so few
    // pictures makes differences of what was rounding. `curator-nn` holds gradients against one another in 64 bits.
    for (method, flags) in [("simclr", "31"), ("simsiam", "31"), ("vicreg", "15 --accumulate 2")] {
        let words = format!(
            "train --arch resnet18 --stem small --input-size 32 --epochs 1 --precision fp32 \
             --optimizer sgd --lr 0.0001 --validation 0.2 --method {method} --batch-size {flags}"
        );
        let model = |devices: &str| {
            let model = place.path().join(format!("{method} {devices}"));
            expect(0, &format!("{words} --device {devices}"), tiles.path(), &model);
            let lines = std::fs::read_to_string(model.join("metrics.jsonl")).unwrap();
            let of = |line: &str| {
                let line: serde_json::Value = serde_json::from_str(line).unwrap();
                ["loss", "validation_loss", "gradient_norm"]
                    .map(|name| line[name].as_f64().unwrap())
            };
            lines.lines().flat_map(of).collect::<Vec<_>>()
        };
        let one = model("cpu");
        for devices in ["cpu,cpu", "cpu,cpu,cpu"] {
            let several = model(devices);
            // Losses, and the gradients' norm, of which a network of random weights makes rounding larger.
            for ((one, several), within) in one.iter().zip(&several).zip([1e-5, 1e-3, 5e-3]) {
                assert!(
                    (one - several).abs() < within * one.abs().max(1.0),
                    "{method}: {one} {several}"
                );
            }
        }
    }
}
