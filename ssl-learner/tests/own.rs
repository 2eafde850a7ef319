//! A TorchScript module of the user's own as encoder. `data/own.pt` and `data/flat.pt` are what PyTorch makes of
//!
//! ```python
//! class Own(torch.nn.Module):
//!     def __init__(self):
//!         super().__init__()
//!         self.conv1 = torch.nn.Conv2d(3, 8, 3, 2, 1, bias=False); self.bn1 = torch.nn.BatchNorm2d(8)
//!         self.conv2 = torch.nn.Conv2d(8, 24, 3, 2, 1)
//!     def forward(self, x: torch.Tensor) -> torch.Tensor:
//!         return self.conv2(self.bn1(self.conv1(x)).relu()).relu().mean((2, 3))
//! class Flat(torch.nn.Module):
//!     def forward(self, x: torch.Tensor) -> torch.Tensor:
//!         return x.mean()
//! torch.jit.script(Own()).save("own.pt"); torch.jit.script(Flat()).save("flat.pt")
//! ```

use std::process::Command;

mod common;

use common::{expect, kill_at_checkpoint, pictures, weights};

const OWN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/own.pt");
const FLAT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/flat.pt");

#[test]
fn a_module_of_ones_own_learns_embeds_classifies_and_is_exported_where_it_is_trusted() {
    let (tiles, place) = (pictures(48), tempfile::tempdir().unwrap());
    let [model, tuned, exported] = ["model", "tuned", "exported"].map(|n| place.path().join(n));
    let words = format!(
        "train --input-size 32 --batch-size 16 --epochs 8 --validation 0.2 --trust-model --encoder {OWN}"
    );
    let said = expect(0, &words, tiles.path(), &model);
    assert!(said.contains("starting weights 0.") && !said.contains("random weights"), "{said}");
    let config = std::fs::read_to_string(model.join("config.json")).unwrap();
    assert!(
        config.contains("\"torchscript\"") && config.contains("\"embedding_size\": 24"),
        "{config}"
    );
    assert_ne!(std::fs::read(model.join("encoder.pt")).unwrap(), std::fs::read(OWN).unwrap());

    // Killed and continued, statistics of batches included: the same in the end.
    let broken = place.path().join("broken");
    kill_at_checkpoint(&words, tiles.path(), &broken);
    expect(0, &words, tiles.path(), &broken);
    assert_eq!(weights(&model), weights(&broken));

    let flags = format!("--trust-model --model {}", model.display());
    for (words, output) in [
        (format!("finetune {flags} --mode full --epochs 2"), &tuned),
        (format!("evaluate {flags}"), &place.path().join("report")),
    ] {
        expect(0, &words, tiles.path(), output);
        // Without the user's word nothing is loaded.
        let other = place.path().join("other");
        let said = expect(2, &words.replace("--trust-model ", ""), tiles.path(), &other);
        assert!(said.contains("can hold code") && said.contains("--trust-model"), "{said}");
    }
    let done = Command::new(env!("CARGO_BIN_EXE_ssl-learner"))
        .args([
            "export",
            "--trust-model",
            tuned.to_str().unwrap(),
            "-o",
            exported.to_str().unwrap(),
        ])
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(exported.join("classifier.pt").exists());
}

#[test]
fn modules_that_do_not_fit_or_come_from_elsewhere_are_refused() {
    let (tiles, place) = (pictures(16), tempfile::tempdir().unwrap());
    let broken = place.path().join("broken.pt");
    std::fs::write(&broken, "no zip").unwrap();
    let broken = broken.display();
    for (code, flags, words) in [
        (2, format!("--encoder {OWN}"), "can hold code"),
        (2, "--trust-model --encoder https://example.org/a.pt".into(), "file of this computer"),
        (2, format!("--trust-model --encoder {OWN} --arch resnet18"), "cannot be used with"),
        (2, "--arch torchscript".into(), "--encoder FILE.pt"),
        (2, format!("--trust-model --encoder {OWN} --device cpu,cpu"), "one device"),
        (1, format!("--trust-model --encoder {FLAT}"), "where [2, D] is needed"),
        (1, format!("--trust-model --encoder {broken}"), "broken.pt"),
        (1, "--trust-model --encoder nowhere.pt".into(), "nowhere.pt"),
    ] {
        let said = expect(
            code,
            &format!("train --epochs 1 {flags}"),
            tiles.path(),
            &place.path().join("m"),
        );
        assert!(said.contains(words), "{flags}: {said}");
    }
}
