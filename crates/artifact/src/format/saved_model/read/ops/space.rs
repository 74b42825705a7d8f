//! Blocks of space moved to the batch or to channels, and back.

use super::{Entry, Inputs, one};
use crate::format::saved_model::read::convert::Converter;
use crate::format::saved_model::read::dilated::{self, Meaning};
use crate::format::saved_model::read::dim::Dim;
use crate::format::saved_model::read::node::Node;
use crate::format::saved_model::read::target::Step;
use crate::format::saved_model::read::value::Value;

pub(super) const TABLE: &[Entry] = &[
    ("SpaceToBatchND", |c, _, x| space_to_batch(c, x)),
    ("BatchToSpaceND", |c, _, x| batch_to_space(c, x)),
    ("DepthToSpace", |c, node, x| depth_to_space(c, node, x)),
    ("SpaceToDepth", |c, node, x| space_to_depth(c, node, x)),
];

/// The sizes of blocks, and two numbers for each.
fn blocks(x: &[Value]) -> Step<(Vec<i64>, Vec<[i64; 2]>)> {
    let (blocks, pairs) = (x.integers(1)?, x.integers(2)?);
    let pairs = pairs.as_chunks::<2>().0.to_vec();
    let fits = blocks.len() == pairs.len() && blocks.len() < x.tensor(0)?.rank();
    if !fits
        || blocks.iter().any(|block| !(1..=1 << 16).contains(block))
        || pairs.iter().flatten().any(|pad| *pad < 0)
    {
        return Err("its blocks do not fit".into());
    }
    Ok((blocks, pairs))
}

fn space_to_batch(c: &mut Converter, x: &[Value]) -> Step<Vec<Value>> {
    let (blocks, pairs) = blocks(x)?;
    let tensor = x.tensor(0)?;
    let mut pads = vec![[0, 0]; tensor.rank()];
    pads[1..=pairs.len()].copy_from_slice(&pairs);
    let padded = c.target.pad(tensor, &pads, "constant", None)?;
    let many = blocks.len();
    // [batch, s1/b1, b1, s2/b2, b2, ..., rest], then the blocks first.
    let mut apart = vec![padded.shape[0].clone()];
    let mut batch = padded.shape[0].clone();
    for (at, block) in blocks.iter().enumerate() {
        let block = Dim::fixed(*block);
        let outer = padded.shape[at + 1]
            .divided(&block)
            .ok_or("its blocks do not divide the axis, or its size is open")?;
        batch = batch.times(&block).ok_or("the batch is too large")?;
        apart.extend([outer, block]);
    }
    apart.extend_from_slice(&padded.shape[many + 1..]);
    let apart = c.target.reshape(&padded, apart)?;
    let inner = (0..many).map(|at| 2 * at + 2);
    let outer = (0..many).map(|at| 2 * at + 1);
    let order: Vec<usize> = inner.chain([0]).chain(outer).chain(2 * many + 1..apart.rank()).collect();
    let moved = c.target.transpose(&apart, &order)?;
    let shape = [batch].into_iter().chain(moved.shape[many + 1..].iter().cloned()).collect();
    let spread = c.target.reshape(&moved, shape)?;
    c.dilated.remember(&spread, Meaning { whole: padded, blocks, convolved: false });
    one(spread)
}

fn batch_to_space(c: &mut Converter, x: &[Value]) -> Step<Vec<Value>> {
    let (blocks, crops) = blocks(x)?;
    let tensor = x.tensor(0)?;
    if let Some(together) = c.dilated.together(&mut c.target, tensor, &blocks, &crops)? {
        return one(together);
    }
    let many = blocks.len();
    let all = Dim::fixed(blocks.iter().product());
    let batch = tensor.shape[0].divided(&all).ok_or("its blocks do not divide the batch")?;
    let apart: Vec<Dim> = blocks
        .iter()
        .map(|block| Dim::fixed(*block))
        .chain([batch.clone()])
        .chain(tensor.shape[1..].iter().cloned())
        .collect();
    let apart = c.target.reshape(tensor, apart)?;
    // [b1, b2, ..., batch, s1, s2, ..., rest], then each block behind its axis.
    let pairs = (0..many).flat_map(|at| [many + 1 + at, at]);
    let order: Vec<usize> = [many].into_iter().chain(pairs).chain(2 * many + 1..apart.rank()).collect();
    let moved = c.target.transpose(&apart, &order)?;
    let mut shape = vec![batch];
    for (at, block) in blocks.iter().enumerate() {
        shape.push(tensor.shape[at + 1].times(&Dim::fixed(*block)).ok_or("an axis is too large")?);
    }
    shape.extend_from_slice(&tensor.shape[many + 1..]);
    let joined = c.target.reshape(&moved, shape)?;
    one(c.target.slice(&joined, &dilated::crop_spans(&crops))?)
}

/// The block's size, where it lies in images with channels last.
fn block(node: Node, x: &[Value]) -> Step<Dim> {
    let size = node.int("block_size", 0);
    if !(2..=1 << 10).contains(&size)
        || x.tensor(0)?.rank() != 4
        || node.text("data_format", "NHWC") != "NHWC"
    {
        return Err("its blocks are not taken".into());
    }
    Ok(Dim::fixed(size))
}

fn depth_to_space(c: &mut Converter, node: Node, x: &[Value]) -> Step<Vec<Value>> {
    let block = block(node, x)?;
    let tensor = x.tensor(0)?;
    let [batch, height, width, depth] = [0, 1, 2, 3].map(|at| tensor.shape[at].clone());
    let square = block.times(&block).ok_or("its blocks are too large")?;
    let depth = depth.divided(&square).ok_or("its blocks do not divide the channels")?;
    let apart = [&batch, &height, &width, &block, &block, &depth].map(Clone::clone);
    let apart = c.target.reshape(tensor, apart.to_vec())?;
    let moved = c.target.transpose(&apart, &[0, 1, 3, 2, 4, 5])?;
    let (height, width) = (
        height.times(&block).ok_or("an axis is too large")?,
        width.times(&block).ok_or("an axis is too large")?,
    );
    one(c.target.reshape(&moved, vec![batch, height, width, depth])?)
}

fn space_to_depth(c: &mut Converter, node: Node, x: &[Value]) -> Step<Vec<Value>> {
    let block = block(node, x)?;
    let tensor = x.tensor(0)?;
    let [batch, height, width, depth] = [0, 1, 2, 3].map(|at| tensor.shape[at].clone());
    let divided = |size: Dim| size.divided(&block).ok_or("its blocks do not divide the axis");
    let (height, width) = (divided(height)?, divided(width)?);
    let apart = [&batch, &height, &block, &width, &block, &depth].map(Clone::clone);
    let apart = c.target.reshape(tensor, apart.to_vec())?;
    let moved = c.target.transpose(&apart, &[0, 1, 3, 2, 4, 5])?;
    let square =
        block.times(&block).and_then(|square| square.times(&depth)).ok_or("it has too many channels")?;
    one(c.target.reshape(&moved, vec![batch, height, width, square])?)
}
