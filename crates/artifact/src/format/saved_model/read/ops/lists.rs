//! Lists of tensors, with which TensorFlow carries what loops read and write.

use std::rc::Rc;

use predictor::DataType;

use super::{Entry, Inputs, axis_of, layout, one};
use crate::format::saved_model::read::convert::Converter;
use crate::format::saved_model::read::dim::Dim;
use crate::format::saved_model::read::limits;
use crate::format::saved_model::read::node::Node;
use crate::format::saved_model::read::target::Step;
use crate::format::saved_model::read::value::{Content, Item, List, Traced, Value, scalar};

pub(super) const TABLE: &[Entry] = &[
    ("TensorListReserve", |_, node, x| reserve(node, x, 1)),
    ("EmptyTensorList", |_, node, x| empty(node, x)),
    ("TensorListFromTensor", |_, _, x| from_tensor(x)),
    ("TensorListStack", |c, _, x| stack(c, x)),
    ("TensorListConcatV2", |c, _, x| concat(c, x)),
    ("TensorListGetItem", |c, _, x| get(c, x)),
    ("TensorListSetItem", |_, _, x| set(x)),
    ("TensorListPushBack", |_, _, x| push(x)),
    ("TensorListPopBack", |c, _, x| pop(c, x)),
    ("TensorListLength", |_, _, x| length(x)),
    ("TensorListResize", |_, _, x| resize(x)),
];

/// The shape of an item: -1 for an open axis, a scalar -1 for an open shape.
fn item_shape(x: &[Value], at: usize) -> Option<Vec<Dim>> {
    let tensor = x.tensor(at).ok().filter(|tensor| tensor.rank() == 1)?;
    let sizes = tensor.as_sizes()?;
    sizes.iter().all(|size| size.known().is_none_or(|size| size >= 0)).then_some(sizes)
}

fn reserve(node: Node, x: &[Value], count_at: usize) -> Step<Vec<Value>> {
    let dtype = node.dtype("element_dtype", DataType::Float32)?;
    let item_shape = item_shape(x, 0);
    let count = &x.sizes(count_at)?[..];
    let [count] = count else { return Err("the length of a list is no scalar".into()) };
    let known = count.known().and_then(|count| usize::try_from(count).ok());
    let Some(count) = known.filter(|count| *count <= limits::LIST_ELEMENTS) else {
        return list(List { dtype, items: vec![], item_shape, length: Some(count.clone()) });
    };
    list(List { dtype, items: vec![Item::Empty; count], item_shape, length: None })
}

fn empty(node: Node, x: &[Value]) -> Step<Vec<Value>> {
    let dtype = node.dtype("element_dtype", DataType::Float32)?;
    list(List { dtype, items: vec![], item_shape: item_shape(x, 0), length: None })
}

fn list(list: List) -> Step<Vec<Value>> {
    Ok(vec![Value::List(Rc::new(list))])
}

fn from_tensor(x: &[Value]) -> Step<Vec<Value>> {
    let tensor = x.tensor(0)?;
    let (count, item_shape) = tensor.shape.split_first().ok_or("a scalar is made a list")?;
    let whole = Item::Whole(tensor.clone());
    let dtype = tensor.dtype;
    match count.size() {
        Some(count) if count <= limits::LIST_ELEMENTS => {
            let items = (0..count).map(|at| Item::Of(tensor.clone(), at)).collect();
            list(List { dtype, items, item_shape: Some(item_shape.to_vec()), length: None })
        }
        _ => list(List {
            dtype,
            items: vec![whole],
            item_shape: Some(item_shape.to_vec()),
            length: Some(count.clone()),
        }),
    }
}

/// An item as a tensor; what was never written reads as zeros.
fn item(c: &mut Converter, list: &List, item: &Item) -> Step {
    match item {
        Item::Tensor(tensor) => Ok(tensor.clone()),
        Item::Of(tensor, at) => c.target.take(tensor, 0, *at as i64),
        Item::Whole(_) => Err("a list of open length is taken apart".into()),
        Item::Empty => {
            let shape = list.item_shape.clone().or_else(|| {
                list.items.iter().find_map(|item| match item {
                    Item::Tensor(tensor) => Some(tensor.shape.clone()),
                    Item::Of(tensor, _) => Some(tensor.shape[1..].to_vec()),
                    _ => None,
                })
            });
            let shape = shape.ok_or("an item of a list is read that was never written")?;
            c.target.fill(shape, &scalar(list.dtype, 0.0))
        }
    }
}

fn stack(c: &mut Converter, x: &[Value]) -> Step<Vec<Value>> {
    let list = x.list(0)?;
    one(stacked(c, list)?)
}

/// All items along a new first axis.
pub(super) fn stacked(c: &mut Converter, list: &List) -> Step {
    if let Some(whole) = whole(list) {
        return Ok(whole.clone());
    }
    let items = list.items.iter().map(|each| item(c, list, each)).collect::<Step<Vec<Traced>>>()?;
    layout::stack(c, &items.iter().collect::<Vec<_>>(), 0)
}

/// The tensor that a list was made of, if it was not changed since.
pub(in super::super) fn whole(list: &List) -> Option<&Traced> {
    let (first, rest) = list.items.split_first()?;
    let tensor = match first {
        Item::Whole(tensor) => return Some(tensor),
        Item::Of(tensor, 0) if tensor.shape[0].size() == Some(list.items.len()) => tensor,
        _ => return None,
    };
    let same = |(at, item): (usize, &Item)| match item {
        Item::Of(other, place) => *place == at + 1 && same_content(other, tensor),
        _ => false,
    };
    rest.iter().enumerate().all(same).then_some(tensor)
}

fn same_content(x: &Traced, y: &Traced) -> bool {
    match (&x.content, &y.content) {
        (Content::Computed(x), Content::Computed(y)) => x == y,
        (Content::Known(x), Content::Known(y)) => Rc::ptr_eq(x, y),
        _ => false,
    }
}

fn concat(c: &mut Converter, x: &[Value]) -> Step<Vec<Value>> {
    let list = x.list(0)?;
    let items = list.items.iter().map(|each| item(c, list, each)).collect::<Step<Vec<Traced>>>()?;
    one(c.target.concat(&items.iter().collect::<Vec<_>>(), 0)?)
}

fn get(c: &mut Converter, x: &[Value]) -> Step<Vec<Value>> {
    let list = x.list(0)?;
    let place = x.tensor(1)?;
    if let Some(known) = place.as_integer() {
        if let Some(Item::Whole(tensor)) = list.items.first() {
            return one(c.target.take(tensor, 0, known)?);
        }
        let at = axis_of(known, list.items.len())?;
        return one(item(c, list, &list.items[at])?);
    }
    // At a place that is only known when the model runs: in a loop that stays one.
    match whole(list) {
        Some(tensor) => one(c.target.gather(tensor, place, 0)?),
        None => Err("a list is read at a place that is computed while the model runs".into()),
    }
}

fn set(x: &[Value]) -> Step<Vec<Value>> {
    let (place, value) = (x.tensor(1)?, x.tensor(2)?);
    if let Some(Value::Slot) = x.first() {
        return Ok(vec![Value::Written(Rc::new([place.clone(), value.clone()]))]);
    }
    let mut changed = x.list(0)?.as_ref().clone();
    if changed.length.is_some() {
        return Err("a list is written to whose length is open or too large".into());
    }
    let at =
        place.as_integer().ok_or("a list is written at a place that is computed while the model runs")?;
    let at = usize::try_from(at).ok().filter(|at| *at < limits::LIST_ELEMENTS);
    let at = at.ok_or("a list is written at an absurd place")?;
    if at >= changed.items.len() {
        changed.items.resize(at + 1, Item::Empty);
    }
    changed.items[at] = Item::Tensor(value.clone());
    list(changed)
}

fn push(x: &[Value]) -> Step<Vec<Value>> {
    let mut changed = x.list(0)?.as_ref().clone();
    if changed.items.len() >= limits::LIST_ELEMENTS {
        return Err(format!("a list has more than {} elements", limits::LIST_ELEMENTS).into());
    }
    changed.items.push(Item::Tensor(x.tensor(1)?.clone()));
    list(changed)
}

fn pop(c: &mut Converter, x: &[Value]) -> Step<Vec<Value>> {
    let mut changed = x.list(0)?.as_ref().clone();
    let last = changed.items.pop().ok_or("an empty list is read")?;
    let tensor = item(c, &changed, &last)?;
    Ok(vec![Value::List(Rc::new(changed)), Value::Tensor(tensor)])
}

fn length(x: &[Value]) -> Step<Vec<Value>> {
    let list = x.list(0)?;
    let length = list.length.clone().unwrap_or(Dim::fixed(list.items.len() as i64));
    one(Traced::sizes(DataType::Int32, vec![length], 0))
}

fn resize(x: &[Value]) -> Step<Vec<Value>> {
    let mut changed = x.list(0)?.as_ref().clone();
    let count = usize::try_from(x.integer(1)?).ok().filter(|count| *count <= limits::LIST_ELEMENTS);
    changed.items.resize(count.ok_or("a list has an absurd length")?, Item::Empty);
    list(changed)
}
