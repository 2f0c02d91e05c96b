//! The weight matrices of published networks, as mapping lowers them: rows by columns, batch norms folded.

use nvcim_map::pack::Matrix;

/// A network as matrices.
pub(crate) struct Network {
    /// Its name.
    pub(crate) name: &'static str,
    /// Its matrices, in order.
    pub(crate) matrices: Vec<Matrix>,
}

/// Every network of the table.
pub(crate) fn all() -> Vec<Network> {
    vec![resnet_18(), resnet_50(), mobilenet_v2(), vit_tiny(), bert_base()]
}

impl Network {
    fn new(name: &'static str) -> Self {
        Self { name, matrices: Vec::new() }
    }

    /// Matrices of `n_rows` rows that read the same inputs.
    fn add(&mut self, n_rows: usize, widths: &[usize]) {
        let drives = self.matrices.len();
        let matrix = |&n_cols: &usize| Matrix { blocks: (1, n_rows, n_cols), drives };
        self.matrices.extend(widths.iter().map(matrix));
    }
}

/// He et al., "Deep residual learning for image recognition", CVPR 2016, table 1: basic blocks.
fn resnet_18() -> Network {
    let mut net = Network::new("ResNet-18");
    net.add(3 * 49, &[64]);
    let mut n_in = 64;
    for n_out in [64, 128, 256, 512] {
        net.add(9 * n_in, &[n_out]);
        net.add(9 * n_out, &[n_out]);
        if n_in != n_out {
            net.add(n_in, &[n_out]);
        }
        net.add(9 * n_out, &[n_out]);
        net.add(9 * n_out, &[n_out]);
        n_in = n_out;
    }
    net.add(512, &[1000]);
    net
}

/// The same, bottleneck blocks. The first block's shortcut reads what its first layer reads, the later ones
/// every second position of it.
fn resnet_50() -> Network {
    let mut net = Network::new("ResNet-50");
    net.add(3 * 49, &[64]);
    let mut n_in = 64;
    for (n_mid, n_blocks) in [(64, 3), (128, 4), (256, 6), (512, 3)] {
        for block in 0..n_blocks {
            match (block, n_mid) {
                (0, 64) => net.add(n_in, &[n_mid, 4 * n_mid]),
                (0, _) => {
                    net.add(n_in, &[n_mid]);
                    net.add(n_in, &[4 * n_mid]);
                }
                _ => net.add(n_in, &[n_mid]),
            }
            net.add(9 * n_mid, &[n_mid]);
            net.add(n_mid, &[4 * n_mid]);
            n_in = 4 * n_mid;
        }
    }
    net.add(2048, &[1000]);
    net
}

/// Sandler et al., "MobileNetV2: inverted residuals and linear bottlenecks", CVPR 2018, table 2; depthwise
/// layers run digitally.
fn mobilenet_v2() -> Network {
    let mut net = Network::new("MobileNetV2");
    net.add(27, &[32]);
    let mut n_in = 32;
    for (expansion, n_out, n_blocks) in
        [(1, 16, 1), (6, 24, 2), (6, 32, 3), (6, 64, 4), (6, 96, 3), (6, 160, 3), (6, 320, 1)]
    {
        for _ in 0..n_blocks {
            if expansion > 1 {
                net.add(n_in, &[expansion * n_in]);
            }
            net.add(expansion * n_in, &[n_out]);
            n_in = n_out;
        }
    }
    net.add(320, &[1280]);
    net.add(1280, &[1000]);
    net
}

/// Touvron et al., "Training data-efficient image transformers", ICML 2021, table 1: width 192, 12 layers.
fn vit_tiny() -> Network {
    let mut net = Network::new("ViT-tiny");
    net.add(3 * 256, &[192]);
    for _ in 0..12 {
        net.add(192, &[3 * 192]);
        net.add(192, &[192]);
        net.add(192, &[768]);
        net.add(768, &[192]);
    }
    net.add(192, &[1000]);
    net
}

/// Devlin et al., "BERT: pre-training of deep bidirectional transformers", NAACL 2019: width 768, 12 layers,
/// embeddings looked up digitally.
fn bert_base() -> Network {
    let mut net = Network::new("BERT-base");
    for _ in 0..12 {
        net.add(768, &[768, 768, 768]);
        net.add(768, &[768]);
        net.add(768, &[3072]);
        net.add(3072, &[768]);
    }
    net.add(768, &[768]);
    net
}
