//! Networks, losses and optimisers in 64 bits against torchvision, timm, lightly and PyTorch;
//! `scripts/oracles/nn.py` prints their numbers.

#![expect(clippy::unwrap_used, reason = "tests")]

use curator_nn::backbone::{Arch, Backbone, Stem};
use curator_nn::head::Mlp;
use curator_nn::optimizer::{Optimizer, Rule};
use curator_nn::parallel::{self, Work};
use curator_nn::tch::{Device, Kind, Tensor, nn, no_grad};
use curator_nn::{Error, checkpoint, loss};

/// A tensor of a hash of its indices, equal to the script's.
fn noise(shape: &[i64], phase: f64, scale: f64) -> Tensor {
    let count: i64 = shape.iter().product();
    let hash = |i: i64| {
        let wave = (i as f64 * 12.9898 + phase).sin() * 43758.5453;
        ((wave - wave.floor()) * 2.0 - 1.0) * scale
    };
    let values: Vec<f64> = (0..count).map(hash).collect();
    Tensor::from_slice(&values).view(shape)
}

/// Gives every variable the value it has in the script.
fn fill(store: &mut nn::VarStore) {
    store.double();
    for (number, (name, mut variable)) in checkpoint::variables(store, "").into_iter().enumerate() {
        let (shape, phase) = (variable.size(), number as f64);
        let fan_in: i64 = shape[1..].iter().product();
        let value = if name.ends_with("running_var") {
            noise(&shape, phase, 0.5) + 1.0
        } else if shape.len() > 1 {
            noise(&shape, phase, 2.0 / (fan_in as f64).sqrt())
        } else if name.ends_with("weight") {
            noise(&shape, phase, 0.2) + 1.0
        } else {
            noise(&shape, phase, 0.2)
        };
        no_grad(|| variable.copy_(&value));
    }
}

fn numbers(tensor: &Tensor) -> Vec<f64> {
    Vec::try_from(tensor.detach().flatten(0, -1)).unwrap()
}

/// Equal to the printed digits.
fn assert_close(found: &Tensor, expected: &[f64]) {
    assert_eq!(found.kind(), Kind::Double);
    let found = numbers(found);
    assert_eq!(found.len(), expected.len());
    for (f, e) in found.iter().zip(expected) {
        assert!((f - e).abs() < 1e-6 * (1.0 + e.abs()), "{found:?} {expected:?}");
    }
}

/// Checks features 0 to 3 of the second picture, evaluating and training, and a running mean.
fn check(arch: Arch, stem: Stem, eval: [f64; 4], train: [f64; 4], running: Option<[f64; 2]>) {
    let mut store = nn::VarStore::new(Device::Cpu);
    let backbone = Backbone::new(&store.root(), arch, 3, stem, 64);
    fill(&mut store);
    let images = noise(&[8, 3, 64, 64], 0.0, 1.0);
    let features = |train| no_grad(|| backbone.forward(&images, train)).unwrap();
    assert_close(&features(false).get(1).slice(0, 0, 4, 1), &eval);
    assert_close(&features(true).get(1).slice(0, 0, 4, 1), &train);
    if let Some(running) = running {
        assert_close(&store.variables()["bn1.running_mean"].slice(0, 0, 2, 1), &running);
    }
}

#[test]
fn resnet18_is_torchvisions() {
    check(
        Arch::ResNet18,
        Stem::Large,
        [1.2565235, 3.6905625, 1.9642711, 5.0232078],
        [0.40626113, 1.1674292, 1.0172555, 0.60470822],
        Some([0.015978283, -0.088524352]),
    );
}

#[test]
fn resnet18_with_a_small_stem_is_torchvisions_with_its_stem_replaced() {
    check(
        Arch::ResNet18,
        Stem::Small,
        [1.6166013, 1.7904673, 1.7628956, 2.6599336],
        [0.49621985, 1.0324148, 0.68128068, 0.66823218],
        Some([0.01517033, -0.088539543]),
    );
}

#[test]
fn resnet34_is_torchvisions() {
    check(
        Arch::ResNet34,
        Stem::Large,
        [1.9164351, 5.2002199, 13.11443, 2.7592077],
        [1.1835114, 1.0172687, 1.0875741, 1.2755524],
        Some([0.015978283, -0.088524352]),
    );
}

#[test]
fn resnet50_is_torchvisions() {
    check(
        Arch::ResNet50,
        Stem::Large,
        [39.404524, 2.8956421, 8.5235491, 18.817621],
        [0.26234391, 0.30791781, 1.1270682, 0.13608694],
        Some([0.015978283, -0.088524352]),
    );
}

#[test]
fn vit_tiny_is_timms() {
    let features = [-0.094204108, 2.0202873, 0.78839446, -0.49805476];
    check(Arch::VitTiny, Stem::Small, features, features, None);
}

type Loss = fn(&Tensor, &Tensor) -> Tensor;
const NT_XENT: Loss = |a, b| loss::nt_xent(a, b, 0.2).unwrap();
const VICREG: Loss = |a, b| loss::vicreg(a, b).unwrap();
const SIMSIAM: Loss = |a, b| loss::simsiam_through(a, b, b, a).unwrap();

fn projections() -> (Tensor, Tensor) {
    let view = |phase| noise(&[6, 5], phase, 1.0).set_requires_grad(true);
    (view(0.0), view(1.0))
}

#[test]
fn losses_and_their_gradients_are_lightlys() {
    for (loss, value, of_a, of_b) in [
        (
            NT_XENT,
            3.383435,
            [0.23251562, 0.21404606, -0.052897345, -0.42017875, -0.21413915],
            [-0.0031702264, 0.28582409, 0.35697727, 0.34617533, 0.017269315],
        ),
        (
            VICREG,
            25.365424,
            [-1.1064574, 1.7224206, -1.7104972, -0.57611076, -0.92858083],
            [0.049415911, 0.29961327, 1.3851614, 0.53264838, 0.18318495],
        ),
    ] {
        let (a, b) = projections();
        let loss = loss(&a, &b);
        loss.backward();
        assert_close(&loss.view([1]), &[value]);
        assert_close(&a.grad().get(0), &of_a);
        assert_close(&b.grad().get(5), &of_b);
    }
    let view = |phase| noise(&[6, 5], phase, 1.0);
    let loss = loss::simsiam(&view(2.0), &view(0.0), &view(3.0), &view(1.0)).unwrap();
    assert_close(&loss.view([1]), &[-0.0084004232]);
}

#[test]
fn gradients_are_finite_differences() {
    let step = 1e-6;
    for loss in [NT_XENT, VICREG, SIMSIAM] {
        let (a, b) = projections();
        loss(&a, &b).backward();
        let gradient = numbers(&a.grad());
        for (i, expected) in gradient.into_iter().enumerate() {
            let at = |offset: f64| {
                let mut values = numbers(&a);
                values[i] += offset;
                loss(&Tensor::from_slice(&values).view([6, 5]), &b.detach()).double_value(&[])
            };
            let found = (at(step) - at(-step)) / (2.0 * step);
            assert!((found - expected).abs() < 1e-6 * (1.0 + expected.abs()), "{found} {expected}");
        }
    }
}

#[test]
fn a_networks_gradients_are_finite_differences() {
    let mut store = nn::VarStore::new(Device::Cpu);
    let backbone = Backbone::new(&store.root(), Arch::ResNet18, 2, Stem::Small, 16);
    fill(&mut store);
    let images = noise(&[4, 2, 16, 16], 0.0, 1.0);
    let value = || backbone.forward(&images, true).unwrap().square().sum(Kind::Double);
    value().backward();
    for name in ["conv1.weight", "layer3.0.downsample.0.weight", "layer4.1.bn2.weight"] {
        let variable = store.variables()[name].shallow_clone();
        let expected = variable.grad().flatten(0, -1).double_value(&[3]);
        let at = |offset: f64| {
            no_grad(|| {
                let _ = variable.view_([-1]).get(3).g_add_scalar_(offset);
                value().double_value(&[])
            })
        };
        let step = 1e-6;
        let (above, below) = (at(step), at(-2.0 * step));
        at(step);
        let found = (above - below) / (2.0 * step);
        assert!(
            (found - expected).abs() < 1e-4 * (1.0 + expected.abs()),
            "{name} {found} {expected}"
        );
    }
}

#[test]
fn optimisers_are_pytorchs_and_lightlys() {
    for (rule, expected) in [
        (
            Rule::Sgd,
            [
                -0.20047338,
                -0.091283039,
                0.18404315,
                -0.56249989,
                0.08967734,
                -0.46318556,
                0.64338078,
            ],
        ),
        (
            Rule::Adam,
            [
                0.10881046,
                -0.085052415,
                -0.010749136,
                -0.40772524,
                0.08346475,
                -0.43366802,
                0.72614281,
            ],
        ),
        (
            Rule::AdamW,
            [
                -0.26326053,
                -0.068598386,
                0.26291599,
                -0.6217512,
                0.11542737,
                -0.51644885,
                0.71926347,
            ],
        ),
        (
            Rule::Lars,
            [-0.25239225, -0.092982537, 0.25203963, -0.6684563, 0.11894202, -0.50535704, 1.5754512],
        ),
    ] {
        let mut store = nn::VarStore::new(Device::Cpu);
        let (root, zero) = (store.root(), nn::Init::Const(0.0));
        let (weight, bias) = (root.var("weight", &[3, 4], zero), root.var("bias", &[3], zero));
        store.double();
        no_grad(|| {
            weight.shallow_clone().copy_(&noise(&[3, 4], 0.0, 1.0));
            bias.shallow_clone().copy_(&noise(&[3], 1.0, 1.0));
        });
        let mut optimizer = Optimizer::new(&[("", &store)], rule, 0.1);
        for _ in 0..10 {
            optimizer.zero_grad();
            let y = weight.sin().mv(&noise(&[4], 2.0, 1.0)) + &bias;
            y.square().sum(Kind::Double).backward();
            optimizer.step(0.05).unwrap();
        }
        assert_close(&Tensor::cat(&[weight.get(1), bias], 0), &expected);
    }
}

#[test]
fn sixteen_bits_change_features_little_and_leave_weights_in_thirty_two() {
    for arch in [Arch::ResNet18, Arch::VitTiny] {
        let store = nn::VarStore::new(Device::Cpu);
        let stem = Stem::for_size(arch, 64);
        let backbone = Backbone::new(&store.root(), arch, 3, stem, 64);
        let images = noise(&[8, 3, 64, 64], 0.0, 1.0).to_kind(Kind::Float);
        let full = backbone.forward(&images, true).unwrap();
        let half = backbone.forward(&images.to_kind(Kind::BFloat16), true).unwrap();
        assert_eq!(half.kind(), Kind::Float);
        let cosine = (loss::normalize(&full).unwrap() * loss::normalize(&half).unwrap())
            .sum_dim_intlist(1, false, Kind::Float)
            .min()
            .double_value(&[]);
        assert!(cosine > 0.98, "{arch}: {cosine}");
        half.sum(Kind::Float).backward();
        for (name, variable) in checkpoint::variables(&store, "") {
            assert_eq!(variable.kind(), Kind::Float, "{name}");
            if variable.requires_grad() {
                assert_eq!(variable.grad().kind(), Kind::Float, "{name}");
            }
        }
    }
}

#[test]
fn a_training_run_has_pytorchs_curve() {
    let mut store = nn::VarStore::new(Device::Cpu);
    let backbone = Backbone::new(&store.root(), Arch::ResNet18, 3, Stem::Small, 32);
    let mut heads = nn::VarStore::new(Device::Cpu);
    let head = Mlp::simclr_projection(&heads.root(), 512);
    fill(&mut store);
    fill(&mut heads);
    let mut optimizer = Optimizer::new(&[("a", &store), ("b", &heads)], Rule::AdamW, 0.05);
    let curve =
        [2.8759593, 2.7170585, 2.7779697, 2.7595568, 2.0397662, 1.5992389, 1.4571177, 1.5431165];
    for (step, expected) in curve.into_iter().enumerate() {
        let view = |view: f64| noise(&[8, 3, 32, 32], 10.0 * (step % 4) as f64 + view, 1.0);
        let features = backbone.forward(&Tensor::cat(&[view(0.0), view(1.0)], 0), true).unwrap();
        let projected = head.forward(&features, true).unwrap();
        let (a, b) = (projected.narrow(0, 0, 8), projected.narrow(0, 8, 8));
        optimizer.zero_grad();
        let loss = loss::nt_xent(&a, &b, 0.2).unwrap();
        loss.backward();
        optimizer.step(1e-3).unwrap();
        // Rounding grows from step to step.
        let found = loss.double_value(&[]);
        assert!((found - expected).abs() < 1e-5, "step {step}: {found} {expected}");
    }
}

/// A double-precision ResNet-18 with the script's weights.
fn double_resnet() -> (nn::VarStore, Backbone) {
    let mut store = nn::VarStore::new(Device::Cpu);
    let backbone = Backbone::new(&store.root(), Arch::ResNet18, 3, Stem::Small, 32);
    fill(&mut store);
    (store, backbone)
}

#[test]
fn replicas_have_the_statistics_and_gradients_of_one_device() {
    let images = noise(&[9, 3, 32, 32], 0.0, 1.0);
    let compare = |features: &Tensor| {
        // Contrast of every picture with all others, those of other replicas included.
        loss::nt_xent(&features.slice(0, 0, 8, 1), &features.slice(0, 1, 9, 1), 0.2).unwrap()
    };
    let (one, backbone) = double_resnet();
    let expected = compare(&backbone.forward(&images, true).unwrap());
    expected.backward();

    let mut replicas: Vec<_> = (0..3).map(|_| double_resnet()).collect();
    let shares = [(0, 2), (2, 6), (6, 9)].map(|(from, to)| images.slice(0, from, to, 1));
    let mut work = replicas.iter_mut().zip(shares).map(|((_, backbone), share)| {
        Box::new(move || backbone.forward(&share, true)) as Work<'_, Tensor, Error>
    });
    let first = work.next().unwrap();
    let features = parallel::together(first, work.collect()).unwrap();
    let loss = compare(&Tensor::cat(&features, 0));
    assert!((&loss - &expected).abs().double_value(&[]) < 1e-10);
    loss.backward();
    let all: Vec<_> = replicas.iter().map(|(store, _)| checkpoint::variables(store, "")).collect();
    for (i, (name, variable)) in checkpoint::variables(&one, "").into_iter().enumerate() {
        let (found, expected) = if variable.requires_grad() {
            let gradients: Vec<Tensor> = all.iter().map(|v| v[i].1.grad()).collect();
            (Tensor::stack(&gradients, 0).sum_dim_intlist(0, false, Kind::Double), variable.grad())
        } else {
            (all[2][i].1.shallow_clone(), variable) // running statistics
        };
        let scale = expected.abs().max().double_value(&[]) + 1e-12;
        let difference = (&found - &expected).abs().max().double_value(&[]) / scale;
        assert!(difference < 1e-8, "{name}: {difference:.1e}");
    }
}
