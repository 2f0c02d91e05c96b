//! Which images make a batch, and how they are varied: drawn by epoch and place, so that any step can be
//! repeated alone.

use ndarray::{ArrayViewMut3, Axis};
use nvcim_chip::effects::Effect;
use nvcim_chip::random::Stream;
use nvcim_ops::tensor::Tensor;

/// How images are varied from epoch to epoch; for samples `[channels, height, width]`, or `[height, width,
/// channels]` with few channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Augment {
    /// The most that an image is moved along each axis, in pixels; what moves in repeats the edge.
    pub shift: usize,
    /// Whether every other image is mirrored left to right.
    pub flip: bool,
}

/// Draws batches.
#[derive(Debug, Clone)]
pub(crate) struct Batches {
    stream: Stream,
    n_images: usize,
    size: usize,
    /// The images of each class, where batches are to hold as many of each; else one list of all.
    classes: Vec<Vec<u32>>,
    augment: Augment,
}

/// The most channels by which an axis is taken for that of channels.
const MOST_CHANNELS: usize = 4;

/// Sets the draws of batches apart from those of any die.
const DIE: u64 = u64::MAX;

impl Batches {
    /// Batches of `size` out of `n_images`; `labels` where every class is to come as often as any other.
    pub(crate) fn new(
        seed: u64,
        n_images: usize,
        size: usize,
        labels: Option<&[usize]>,
        augment: Augment,
    ) -> Self {
        let mut classes: Vec<Vec<u32>> = match labels {
            None => vec![(0..n_images as u32).collect()],
            Some(labels) => {
                let n_classes = labels.iter().max().map_or(1, |most| most + 1);
                let mut classes = vec![Vec::new(); n_classes];
                (0..).zip(labels).for_each(|(at, &label): (u32, _)| classes[label].push(at));
                classes
            }
        };
        classes.retain(|class| !class.is_empty());
        let stream = Stream::new(seed, DIE, Effect::Programming);
        Self { stream, n_images, size, classes, augment }
    }

    /// Images of a batch.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Batches of an epoch; a few images that fill no batch wait for the next epoch's order.
    pub(crate) fn per_epoch(&self) -> usize {
        (self.n_images / self.size).max(1)
    }

    /// The images of an epoch in their order: each once, or, class by class in turn, classes with fewer images
    /// more often.
    pub(crate) fn order(&self, epoch: u32) -> Vec<u32> {
        let classes: Vec<Vec<u32>> =
            (0..).zip(&self.classes).map(|(at, class)| self.shuffle(epoch, at, class)).collect();
        let n_classes = classes.len();
        let pick = |at: usize| {
            let class = &classes[at % n_classes];
            class[at / n_classes % class.len()]
        };
        (0..self.n_images).map(pick).collect()
    }

    /// Fisher and Yates, by keyed draws.
    fn shuffle(&self, epoch: u32, class: u32, images: &[u32]) -> Vec<u32> {
        let mut res = images.to_vec();
        for at in (1..res.len()).rev() {
            let u = self.stream.uniform([epoch, class, at as u32, 0]);
            res.swap(at, ((u * (at + 1) as f64) as usize).min(at));
        }
        res
    }

    /// The images at `order`, `[count, shape...]`, varied for this epoch.
    pub(crate) fn gather(&self, images: &Tensor, order: &[u32], epoch: u32) -> Tensor {
        let indices: Vec<usize> = order.iter().map(|&at| at as usize).collect();
        let mut res = images.select(Axis(0), &indices);
        if self.augment == Augment::default() || res.ndim() != 4 {
            return res;
        }
        for (image, &at) in res.outer_iter_mut().zip(order) {
            let image = image.into_dimensionality().expect("samples have three axes");
            let (first, _, last) = image.dim();
            // Few channels stand last where networks of other frameworks have come from.
            let channels_last = last <= MOST_CHANNELS && first > MOST_CHANNELS;
            self.vary(
                if channels_last { image.permuted_axes([2, 0, 1]) } else { image },
                epoch,
                at,
            );
        }
        res
    }

    fn vary(&self, mut image: ArrayViewMut3<'_, f32>, epoch: u32, at: u32) {
        // Draws of images lie apart from those of orders, which count classes in their second place.
        let uniform = |k| self.stream.uniform([epoch, u32::MAX, at, k]);
        if self.augment.flip && uniform(0) < 0.5 {
            image.invert_axis(Axis(2));
            let mirrored = image.to_owned();
            image.invert_axis(Axis(2));
            image.assign(&mirrored);
        }
        let reach = self.augment.shift as i64;
        if reach == 0 {
            return;
        }
        let span = (2 * reach + 1) as f64;
        let offset = |k| ((uniform(k) * span) as i64).min(2 * reach) - reach;
        let (down, right) = (offset(1), offset(2));
        let old = image.to_owned();
        let (_, height, width) = old.dim();
        let from =
            |at: usize, by: i64, len: usize| (at as i64 - by).clamp(0, len as i64 - 1) as usize;
        image.indexed_iter_mut().for_each(|((channel, y, x), pixel)| {
            *pixel = old[(channel, from(y, down, height), from(x, right, width))];
        });
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{ArrayD, IxDyn};

    use super::{Augment, Batches};

    #[test]
    fn every_image_comes_once_in_an_order_of_the_epochs_own() {
        let batches = Batches::new(3, 100, 16, None, Augment::default());
        let (first, second) = (batches.order(0), batches.order(1));
        assert_ne!(first, second);
        assert_eq!(first, batches.order(0));
        let mut sorted = first.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..100).collect::<Vec<u32>>());
        assert_eq!(batches.per_epoch(), 6);
        assert_ne!(first, Batches::new(4, 100, 16, None, Augment::default()).order(0));
    }

    #[test]
    fn classes_come_in_turn() {
        // Ninety of class 0, ten of class 1.
        let labels: Vec<usize> = (0..100).map(|at| usize::from(at % 10 == 0)).collect();
        let batches = Batches::new(3, 100, 20, Some(&labels), Augment::default());
        let order = batches.order(0);
        for batch in order.chunks(20) {
            assert_eq!(batch.iter().filter(|&&at| labels[at as usize] == 1).count(), 10);
        }
    }

    #[test]
    fn channels_may_stand_last() {
        let first: Vec<f32> = (0..2 * 5 * 6).map(|at| at as f32).collect();
        let first = ArrayD::from_shape_vec(IxDyn(&[1, 2, 5, 6]), first).unwrap();
        let last =
            first.clone().permuted_axes(IxDyn(&[0, 2, 3, 1])).as_standard_layout().into_owned();
        let augment = Augment { shift: 2, flip: true };
        for epoch in 0..20 {
            let vary = |x| Batches::new(1, 1, 1, None, augment).gather(x, &[0], epoch);
            assert_eq!(vary(&last).permuted_axes(IxDyn(&[0, 3, 1, 2])), vary(&first));
        }
    }

    #[test]
    fn images_move_by_whole_pixels_and_are_mirrored_whole() {
        let image: Vec<f32> = (1..=12).map(|at| at as f32).collect();
        let images = ArrayD::from_shape_vec(IxDyn(&[1, 1, 3, 4]), image.clone()).unwrap();
        let varied =
            |augment, epoch| Batches::new(1, 1, 1, None, augment).gather(&images, &[0], epoch);
        let at =
            |image: &[f32], y: i64, x: i64| image[(y.clamp(0, 2) * 4 + x.clamp(0, 3)) as usize];
        let mirrored: Vec<f32> = (0..12).map(|it| at(&image, it / 4, 3 - it % 4)).collect();
        let mut seen = std::collections::BTreeSet::new();
        for epoch in 0..200 {
            let got = varied(Augment { shift: 1, flip: true }, epoch);
            let got: Vec<f32> = got.iter().copied().collect();
            let matches = |image: &[f32], down: i64, right: i64| {
                (0..12).all(|it| got[it as usize] == at(image, it / 4 - down, it % 4 - right))
            };
            let found = (-1..=1)
                .flat_map(|down| (-1..=1).map(move |right| (down, right)))
                .flat_map(|(down, right)| [(false, down, right), (true, down, right)])
                .find(|&(flip, down, right)| {
                    matches(if flip { &mirrored } else { &image }, down, right)
                });
            seen.insert(found.expect("a shift and a mirror explain the image"));
        }
        assert_eq!(seen.len(), 18, "every shift, mirrored and not");
        assert_eq!(varied(Augment::default(), 5), images);
    }
}
