//! Every part of a view against torchvision with the same parameters; `scripts/oracles/views.py`
//! prints its numbers.

#![expect(clippy::unwrap_used, reason = "tests")]

use curator_nn::batch;
use curator_nn::tch::{Device, Kind, Tensor};
use curator_nn::view::{Pictures, View, render, render_tensors};

const SIZE: i64 = 20;

fn picture(bands: i64) -> Tensor {
    let sample = |i: i64| {
        let wave = (i as f64 * 12.9898).sin() * 43758.5453;
        (0.4 + 0.2 * (wave - wave.floor())) as f32
    };
    let samples: Vec<f32> = (0..bands * SIZE * SIZE).map(sample).collect();
    Tensor::from_slice(&samples).view([1, bands, SIZE, SIZE])
}

fn view(view: View) -> Tensor {
    render_tensors(&picture(3), &[view]).unwrap()
}

/// Compares the samples that the script prints.
fn check(name: &str, parameters: View, expected: [f64; 5]) {
    let view = view(parameters);
    let places = [[0, 10, 10], [1, 7, 12], [2, 12, 8], [0, 8, 9], [1, 11, 13]];
    for ([band, y, x], expected) in places.into_iter().zip(expected) {
        let found = view.double_value(&[0, band, y, x]);
        assert!((found - expected).abs() < 2e-4, "{name}: {found} {expected}");
    }
}

#[test]
fn geometry_is_torchvisions() {
    // Left 3, top 5, width 12, height 10 of 20.
    let crop = [(3.0 + 6.0) / 10.0 - 1.0, (5.0 + 5.0) / 10.0 - 1.0, 0.6, 0.5];
    check(
        "crop",
        View { crop, ..View::PLAIN },
        [0.4901133, 0.4504294, 0.4793246, 0.4857683, 0.5345053],
    );
    check(
        "rotation",
        View { angle: 30_f64.to_radians(), ..View::PLAIN },
        [0.4781053, 0.5101504, 0.4607229, 0.4349356, 0.4871754],
    );
    check(
        "left to right",
        View { mirror: [true, false], ..View::PLAIN },
        [0.4848386, 0.4759107, 0.4514731, 0.4043576, 0.5909641],
    );
    check(
        "top to bottom",
        View { mirror: [false, true], ..View::PLAIN },
        [0.5221292, 0.5536563, 0.5656535, 0.4791667, 0.458886],
    );
}

#[test]
fn colours_are_torchvisions() {
    for (name, parameters, expected) in [
        (
            "brightness",
            View { brightness: 1.2, ..View::PLAIN },
            [0.5452136, 0.6941936, 0.5935864, 0.6415565, 0.7179703],
        ),
        (
            "contrast",
            View { contrast: 1.3, ..View::PLAIN },
            [0.4396252, 0.6010202, 0.492029, 0.5439967, 0.6267782],
        ),
        (
            "saturation",
            View { saturation: 0.4, ..View::PLAIN },
            [0.450192, 0.5461379, 0.4994551, 0.5045239, 0.5716041],
        ),
        (
            "grey",
            View { saturation: 0.0, ..View::PLAIN },
            [0.4474235, 0.5245668, 0.5026549, 0.4844529, 0.5538012],
        ),
        (
            "all three",
            View { brightness: 1.1, contrast: 0.8, saturation: 1.4, ..View::PLAIN },
            [0.5130141, 0.6388124, 0.5432353, 0.5988918, 0.6529326],
        ),
        (
            "hue",
            View { hue: 40_f64.to_radians(), ..View::PLAIN },
            [0.4518826, 0.5911825, 0.5034284, 0.5133471, 0.5982904],
        ),
    ] {
        check(name, parameters, expected);
    }
}

#[test]
fn blur_is_torchvisions() {
    let blurred = |blur| View { blur, ..View::PLAIN };
    check("0.8", blurred(0.8), [0.485479, 0.5195534, 0.508302, 0.4959944, 0.5497874]);
    check("2", blurred(2.0), [0.5052063, 0.5151867, 0.5006561, 0.5070353, 0.5218471]);
}

#[test]
fn only_the_pictures_that_say_so_are_blurred() {
    let pictures = picture(3).repeat([3, 1, 1, 1]);
    let views = [View::PLAIN, View { blur: 1.0, ..View::PLAIN }, View::PLAIN];
    let rendered = render_tensors(&pictures, &views).unwrap();
    let change = |i| (rendered.get(i) - pictures.get(i)).abs().max().double_value(&[]);
    assert!(change(0) < 1e-6 && change(1) > 0.01 && change(2) < 1e-6);
}

#[test]
fn noise_has_its_deviation_and_its_seed() {
    let noisy = |source| view(View { noise: (0.05, source), ..View::PLAIN });
    let noise = noisy(1) - picture(3);
    let deviation = noise.std(true).double_value(&[]);
    assert!((deviation - 0.05).abs() < 0.004, "{deviation}");
    assert!(noise.mean(Kind::Float).double_value(&[]).abs() < 0.005);
    assert!((noisy(1) - noisy(1)).abs().max().double_value(&[]) < 1e-9);
    assert!((noisy(1) - noisy(2)).abs().max().double_value(&[]) > 0.01);
}

#[test]
fn a_lost_band_is_its_mean_and_the_others_stay() {
    let lost = render_tensors(&picture(5), &[View { lost_band: Some(3), ..View::PLAIN }]).unwrap();
    let original = picture(5);
    let band = lost.select(1, 3);
    let mean = original.select(1, 3).mean(Kind::Float).double_value(&[]);
    assert!((band.max().double_value(&[]) - mean).abs() < 1e-5);
    assert!((band.min().double_value(&[]) - mean).abs() < 1e-5);
    let rest = (lost.slice(1, 0, 3, 1) - original.slice(1, 0, 3, 1)).abs().max();
    assert!(rest.double_value(&[]) < 1e-5);
}

#[test]
fn a_hole_is_where_it_should_be() {
    let hole = Some([0.25, 0.5, 0.75, 0.6]);
    let changed = (view(View { hole, ..View::PLAIN }) - picture(3)).abs();
    let inside = changed.slice(2, 10, 12, 1).slice(3, 5, 15, 1);
    assert!(inside.mean(Kind::Float).double_value(&[]) > 0.01);
    let all = changed.sum(Kind::Float).double_value(&[]);
    assert!((all - inside.sum(Kind::Float).double_value(&[])).abs() < 1e-3);
}

#[test]
fn a_processor_makes_the_same_views_as_a_device() {
    let plain = View::PLAIN;
    let turned = View {
        crop: [0.2, -0.3, 0.7, 0.5],
        angle: 2.5,
        mirror: [true, false],
        brightness: 1.3,
        contrast: 0.7,
        ..plain
    };
    let far = View { crop: [2.0, -3.0, 4.0, 1.5], angle: 0.7, mirror: [false, true], ..plain };
    let coloured = View { saturation: 1.4, hue: -0.4, ..turned };
    for (size, bands) in [(1, 3), (2, 1), (7, 2), (20, 3), (33, 4), (16, 6), (64, 13)] {
        let spoilt = View {
            blur: 1.7,
            noise: (0.1, 9),
            lost_band: Some(bands - 1),
            hole: Some([0.1, 0.3, 0.6, 0.8]),
            ..turned
        };
        let views = [plain, turned, if bands == 3 { coloured } else { plain }, far, spoilt];
        let length = views.len() * size * size * bands;
        let samples: Vec<u8> = (0..length).map(|i| (i * i / 7 % 251) as u8).collect();
        let (size, bands) = (size as u32, bands as u32);
        let pictures = Pictures { samples: &samples, size, bands };
        let ours = render(&pictures, &views, Device::Cpu).unwrap();
        let floats = batch::to_tensor(&samples, size, bands, Device::Cpu).unwrap();
        let theirs = render_tensors(&floats, &views).unwrap();
        assert_eq!(ours.size(), theirs.size());
        for (i, view) in views.iter().enumerate() {
            let i = i as i64;
            let apart = (ours.get(i) - theirs.get(i)).abs().max().double_value(&[]);
            // Places differ by 1e-6 of a side, and neighbouring samples by up to 1.
            assert!(apart < 2e-5 * f64::from(size.max(10)), "{size} {bands} {view:?}: {apart}");
        }
        assert!(render(&pictures, &views[1..], Device::Cpu).is_err());
    }
}
