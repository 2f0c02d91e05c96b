//! The third-party networks of the recovery table, each with its images.

use std::path::Path;

use nvcim::data::{Dataset, Preprocess};
use nvcim::diag::Result;
use nvcim::model::Model;
use nvcim::pipeline::CALIBRATION_IMAGES;
use nvcim::tensor::Tensor;

/// What the limits of a case are given for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// LeNet-5 on MNIST.
    LeNet,
    /// Residual networks on CIFAR-10.
    ResNet,
}

/// One network with where its images are.
#[derive(Debug, Clone, Copy)]
pub struct Network {
    /// The ONNX file's name without its ending.
    pub name: &'static str,
    /// Which limits hold.
    pub family: Family,
    /// Test images of the table, from the start of the set.
    pub images: usize,
    recipe: Recipe,
}

/// The preprocessing that a network was trained with, as the manifest of the shared data gives it.
#[derive(Debug, Clone, Copy)]
enum Recipe {
    /// MNIST, `(u8 / 255 - 0.1307) / 0.3081`.
    MnistNormalized,
    /// MNIST, resized to 32x32, `u8 / 255`.
    MnistResized,
    /// CIFAR-10 with the channel statistics of ImageNet.
    CifarNormalized,
    /// CIFAR-10, raw 0 to 255.
    CifarRaw,
}

/// Every network, in the order of the table.
pub const NETWORKS: [Network; 4] = [
    Network::lenet("lenet5-ccoltong", Recipe::MnistNormalized),
    Network::lenet("lenet5-jinsoo", Recipe::MnistResized),
    Network::resnet("cifar10-resnet20-aka", Recipe::CifarNormalized),
    Network::resnet("mlperf-tiny-ic-resnet8-f32", Recipe::CifarRaw),
];

/// A network with its calibration and test images.
#[derive(Debug)]
pub struct Opened {
    /// The network.
    pub model: Model,
    /// Unlabelled training images, `[n, sample shape...]`.
    pub calibration: Tensor,
    /// Labelled test images.
    pub data: Dataset,
}

impl Network {
    const fn lenet(name: &'static str, recipe: Recipe) -> Self {
        Self { name, family: Family::LeNet, images: 10_000, recipe }
    }

    const fn resnet(name: &'static str, recipe: Recipe) -> Self {
        Self { name, family: Family::ResNet, images: 2_000, recipe }
    }

    /// Opens the network and its first `images` test images.
    ///
    /// # Errors
    /// Missing or broken files.
    pub fn open(&self, shared: &Path, images: usize) -> Result<Opened> {
        let (folder, test) = match self.family {
            Family::LeNet => ("mnist", "t10k"),
            Family::ResNet => ("cifar10-jpeg75", "test"),
        };
        let part = |part: &str, limit| {
            let folder = shared.join("datasets").join(folder);
            let preprocess = Preprocess { limit, ..self.recipe.preprocess() };
            Dataset::open(&format!("{}:{part}", folder.display()), preprocess)
        };
        let model = Model::open(&shared.join(format!("models/{}.onnx", self.name)))?;
        let sample = model.input_shape()?;
        let calibration = part("train", None)?.head(CALIBRATION_IMAGES, &sample)?;
        Ok(Opened { model, calibration, data: part(test, Some(images))? })
    }
}

impl Recipe {
    fn preprocess(self) -> Preprocess {
        let plain = Preprocess::default();
        match self {
            Recipe::MnistNormalized => {
                Preprocess { mean: vec![0.1307], std: vec![0.3081], ..plain }
            }
            Recipe::MnistResized => Preprocess { resize: Some((32, 32)), ..plain },
            Recipe::CifarNormalized => {
                let (mean, std) = (vec![0.485, 0.456, 0.406], vec![0.229, 0.224, 0.225]);
                Preprocess { mean, std, ..plain }
            }
            Recipe::CifarRaw => Preprocess { scale: Some(1.0), ..plain },
        }
    }
}
