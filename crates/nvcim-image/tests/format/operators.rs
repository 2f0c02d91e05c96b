//! What joined the format after its first golden files: operators, in the order of their tags, and layers that
//! several steps use.

use nvcim_image::layout::Image;
use nvcim_ir::ids::{Id, StepId};
use nvcim_ir::op::{Binary, Op, Reduction, Unary};
use nvcim_ir::program::{Step, StepOp};

use crate::sample::sample_image;

/// An operator with the number of its operands and, where it changes, the length of its last axis.
pub(crate) type Later = (Op, usize, Option<usize>);

/// The sample image with the operators that came last, and a layer used twice.
pub(crate) fn sample_several_uses() -> Image {
    let compare = [Binary::Equal, Binary::Greater, Binary::GreaterOrEqual];
    let mut operators: Vec<Later> =
        compare.into_iter().map(|function| (Op::Binary(function), 2, None)).collect();
    operators.push((Op::CumSum { axis: 1, exclusive: true, reverse: false }, 1, None));
    operators.push((Op::ArgMax { axis: 2, last: true }, 1, Some(1)));
    let mut image = sample_later_operators(&operators);
    let program = &mut image.net.program;
    let first = program.steps.iter().find(|step| matches!(step.op, StepOp::Matrix { .. }));
    let again = Step { name: "again".into(), tensor: "again".into(), ..first.unwrap().clone() };
    let again = program.steps.push(again);
    program.outputs.push(again);
    image
}

/// The sample image with numbers looked up in a list, whose entries have no axes of their own.
pub(crate) fn sample_lookup() -> Image {
    let consts = sample_image(Some(16)).net.program.consts;
    let list = consts.ids().find(|id| consts[*id].value.ndim() == 1);
    let table = list.expect("the sample has a bias");
    sample_later_operators(&[(Op::Lookup { table }, 1, None)])
}

/// The sample image with a step more for every one of these operators.
pub(crate) fn sample_later_operators(operators: &[Later]) -> Image {
    let mut image = sample_image(Some(16));
    let program = &mut image.net.program;
    let mut x = StepId::new(0);
    let mut shape = program.steps[x].shape.clone();
    for (op, operands, len) in operators.iter().cloned() {
        if let Some(len) = len {
            *shape.last_mut().expect("the input has three axes") = len;
        }
        let name = format!("later{}", program.steps.len());
        let operands = vec![x; operands];
        let op = StepOp::Digital(op);
        x = program.steps.push(Step {
            tensor: name.clone(),
            name,
            op,
            operands,
            shape: shape.clone(),
        });
    }
    program.outputs.push(x);
    image
}

/// The operators of transformers and normalised networks.
pub(crate) fn later_operators() -> Vec<Later> {
    let unary = [
        Unary::Abs,
        Unary::Sqrt,
        Unary::Exp,
        Unary::Log,
        Unary::Erf,
        Unary::Sin,
        Unary::Cos,
        Unary::Floor,
        Unary::Ceil,
        Unary::Round,
        Unary::Sign,
        Unary::Softplus,
        Unary::Gelu,
        Unary::GeluTanh,
        Unary::Elu { alpha: 1.5, gamma: 2.0, width: 0.5 },
    ];
    let reduce = |reduction| Op::Reduce { reduction, axes: vec![2] };
    let same = |(op, operands)| (op, operands, None);
    let first = unary.map(|function| (Op::Unary(function), 1));
    let pairs = [Binary::Min, Binary::Max, Binary::Pow].map(|function| (Op::Binary(function), 2));
    let first = first.into_iter().chain(pairs).chain([(Op::Select, 3), (Op::MatMul, 2)]).map(same);
    let rest = [
        (reduce(Reduction::Sum), 1, Some(1)),
        (reduce(Reduction::Max), 1, Some(1)),
        (reduce(Reduction::Min), 1, Some(1)),
        (reduce(Reduction::Prod), 1, Some(1)),
        (Op::Normalize { axes: vec![0, 2], epsilon: 1e-5, centred: true }, 1, None),
        (Op::Expand, 1, Some(4)),
        (Op::Gather { axis: 2, indices: vec![3, 0, 0] }, 1, Some(3)),
    ];
    first.chain(rest).collect()
}
