//! Batches gathered ahead of the fit, by a thread of their own, in exactly the order in which they are used.

use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{Scope, ScopedJoinHandle};

use crate::Error;
use crate::order::Order;
use crate::rows::{Gatherer, Rows};

/// A batch with its features.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Gathered {
    /// The epoch, from 1.
    pub(crate) epoch: usize,
    /// The batch of the epoch, from 0.
    pub(crate) step: usize,
    /// Which rows these are.
    pub(crate) rows: Vec<u32>,
    /// Their features, row-major.
    pub(crate) features: Vec<f32>,
}

/// Which batches are gathered ahead.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ahead {
    /// The first epoch, from 1.
    pub(crate) epoch: usize,
    /// The first batch of it, from 0.
    pub(crate) step: usize,
    /// The last epoch.
    pub(crate) epochs: usize,
    /// How many batches wait at most, at least one; memory is those and two more.
    pub(crate) depth: usize,
}

/// A queue of batches that a thread fills. Dropping it ends the thread after the batch at hand.
#[derive(Debug)]
pub(crate) struct Prefetch<'scope> {
    batches: Option<Receiver<Result<Gathered, Error>>>,
    used: Sender<Gathered>,
    thread: Option<ScopedJoinHandle<'scope, ()>>,
}

impl<'scope> Prefetch<'scope> {
    /// Starts to gather from `source` in `order`, epoch after epoch.
    pub(crate) fn start(
        scope: &'scope Scope<'scope, '_>,
        source: &'scope dyn Rows,
        order: &'scope Order,
        ahead: Ahead,
    ) -> Self {
        let (batches_in, batches) = sync_channel(ahead.depth.max(1));
        let (used, used_out) = channel();
        let thread = scope.spawn(move || {
            // Whoever hangs up ends it.
            if let Err(Ended::With(error)) = fill(source, order, ahead, (&batches_in, &used_out)) {
                let _ = batches_in.send(Err(error));
            }
        });
        Self { batches: Some(batches), used, thread: Some(thread) }
    }

    /// The next batch; nothing after the last one, and after an error.
    ///
    /// # Errors
    /// What kept the rows from being read.
    ///
    /// # Panics
    /// As the source does.
    pub(crate) fn next_batch(&mut self) -> Result<Option<Gathered>, Error> {
        let Some(batches) = &self.batches else { return Ok(None) };
        if let Ok(batch) = batches.recv() {
            return batch.map(Some);
        }
        // The thread has ended: after the last batch, or in a panic, which goes on here.
        self.batches = None;
        match self.thread.take().map(ScopedJoinHandle::join) {
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            _ => Ok(None),
        }
    }

    /// Takes back a batch that is not needed any more, to fill it again.
    pub(crate) fn give_back(&self, batch: Gathered) {
        // A thread that has ended needs none.
        let _ = self.used.send(batch);
    }
}

/// Why no more batches are gathered.
enum Ended {
    With(Error),
    NobodyListens,
}

fn fill(
    source: &dyn Rows,
    order: &Order,
    ahead: Ahead,
    (batches, used): (&SyncSender<Result<Gathered, Error>>, &Receiver<Gathered>),
) -> Result<(), Ended> {
    let mut gatherer = Gatherer::new(source, order.blocks());
    let mut first = ahead.step;
    for epoch in ahead.epoch..=ahead.epochs {
        let mut of_epoch = order.epoch(epoch);
        for step in std::mem::take(&mut first)..of_epoch.steps() {
            let mut batch = used.try_recv().unwrap_or_default();
            of_epoch.batch(step, &mut batch.rows);
            gatherer.gather(&batch.rows, &mut batch.features).map_err(Ended::With)?;
            batches.send(Ok(Gathered { epoch, step, ..batch })).map_err(|_| Ended::NobodyListens)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::ops::Range;

    use super::*;
    use crate::order::{BlocksConfig, OrderConfig, Shuffle};
    use crate::rows::Matrix;
    use crate::rows::tests::Made;

    const ROWS: usize = 101;
    const AHEAD: Ahead = Ahead { epoch: 1, step: 0, epochs: 3, depth: 2 };

    fn order(shuffle: Shuffle) -> Order {
        order_of(ROWS, shuffle)
    }

    fn order_of(rows: usize, shuffle: Shuffle) -> Order {
        let groups: Vec<u32> = (0..rows as u32).map(|row| row / 6).collect();
        Order::new(OrderConfig { shuffle, seed: 5, batch_size: 8 }, rows, Some(&groups)).unwrap()
    }

    fn blocks() -> Shuffle {
        Shuffle::Blocks(BlocksConfig { block_rows: 10, window_blocks: 3 })
    }

    /// All batches, by one thread.
    fn plain(source: &dyn Rows, order: &Order) -> Vec<Gathered> {
        let mut all = Vec::new();
        for epoch in 1..=3 {
            for step in 0..order.steps(epoch) {
                let mut batch = Gathered { epoch, step, ..Gathered::default() };
                order.epoch(epoch).batch(step, &mut batch.rows);
                Gatherer::new(source, None).gather(&batch.rows, &mut batch.features).unwrap();
                all.push(batch);
            }
        }
        all
    }

    fn prefetched(source: &dyn Rows, order: &Order, ahead: Ahead) -> Vec<Gathered> {
        std::thread::scope(|scope| {
            let mut queue = Prefetch::start(scope, source, order, ahead);
            let mut all = Vec::new();
            while let Some(batch) = queue.next_batch().unwrap() {
                all.push(batch.clone());
                queue.give_back(batch);
            }
            assert!(queue.next_batch().unwrap().is_none());
            all
        })
    }

    #[test]
    fn batches_come_as_they_would_without_it_from_any_step() {
        let streamed = Made::new(ROWS);
        let values = streamed.whole();
        let matrix = Matrix::new(&values, 3, "training").unwrap();
        for shuffle in [Shuffle::None, Shuffle::Rows, blocks(), Shuffle::Dates] {
            let order = order(shuffle);
            let expected = plain(&matrix, &order);
            for depth in [0, 1, 4] {
                assert_eq!(prefetched(&matrix, &order, Ahead { depth, ..AHEAD }), expected);
                assert_eq!(prefetched(&streamed, &order, Ahead { depth, ..AHEAD }), expected);
            }
            for (at, batch) in expected.iter().enumerate() {
                let ahead = Ahead { epoch: batch.epoch, step: batch.step, ..AHEAD };
                assert_eq!(prefetched(&streamed, &order, ahead), expected[at..]);
            }
            // A resume after the last batch of an epoch.
            let ahead = Ahead { step: order.steps(1), ..AHEAD };
            assert_eq!(prefetched(&matrix, &order, ahead), expected[order.steps(1)..]);
        }
    }

    #[test]
    fn a_block_is_read_once_an_epoch() {
        let streamed = Made::new(ROWS);
        let mut reads: Vec<Range<usize>> = Vec::new();
        for _ in 0..3 {
            reads.extend((0..11).map(|block| 10 * block..(10 * block + 10).min(ROWS)));
        }
        prefetched(&streamed, &order(blocks()), AHEAD);
        let mut found = streamed.reads.lock().unwrap().clone();
        found.sort_unstable_by_key(|range| range.start);
        reads.sort_unstable_by_key(|range| range.start);
        // A block that ends one epoch may still be held when the next needs it.
        let distinct =
            |ranges: &[Range<usize>]| ranges.iter().map(|range| range.start).collect::<BTreeSet<usize>>();
        assert!(found.len() <= reads.len() && found.len() >= reads.len() - 2 * 3);
        assert_eq!(distinct(&found), distinct(&reads));
    }

    #[test]
    fn buffers_are_used_again() {
        // Whole batches: a buffer that is first filled with less grows, and is then elsewhere.
        let rows = ROWS / 8 * 8;
        let values: Vec<f32> = (0..rows * 3).map(|x| x as f32).collect();
        let (matrix, order) = (Matrix::new(&values, 3, "training").unwrap(), order_of(rows, Shuffle::Rows));
        std::thread::scope(|scope| {
            let mut queue = Prefetch::start(scope, &matrix, &order, AHEAD);
            let mut buffers = BTreeSet::new();
            while let Some(batch) = queue.next_batch().unwrap() {
                buffers.insert(batch.features.as_ptr() as usize);
                queue.give_back(batch);
            }
            // Those that wait, the one that is filled and the one in use.
            assert!(buffers.len() <= AHEAD.depth + 2, "{}", buffers.len());
        });
    }

    #[test]
    fn an_error_comes_in_its_place_and_is_the_last() {
        let mut broken = Made::new(ROWS);
        broken.broken = Some(20);
        let order = order(Shuffle::None);
        std::thread::scope(|scope| {
            let mut queue = Prefetch::start(scope, &broken, &order, AHEAD);
            for step in 0..2 {
                assert_eq!(queue.next_batch().unwrap().unwrap().step, step);
            }
            assert_eq!(queue.next_batch().unwrap_err().to_string(), "row is 20; it is broken");
            assert!(queue.next_batch().unwrap().is_none());
        });
    }

    #[test]
    fn it_ends_when_it_is_dropped() {
        let streamed = Made::new(ROWS);
        let order = order(Shuffle::Rows);
        std::thread::scope(|scope| {
            let mut queue = Prefetch::start(scope, &streamed, &order, Ahead { epochs: usize::MAX, ..AHEAD });
            assert!(queue.next_batch().unwrap().is_some());
        });
        // The scope has waited for the thread, which was not asked for more than it could hold ready.
        assert!(streamed.reads.lock().unwrap().len() <= 8 * (1 + AHEAD.depth + 1));
    }

    #[test]
    fn a_panic_of_the_source_goes_on_in_the_fit() {
        #[derive(Debug)]
        struct Panics;
        impl Rows for Panics {
            fn rows(&self) -> usize {
                ROWS
            }
            fn columns(&self) -> usize {
                1
            }
            fn read(&self, _: Range<usize>, _: &mut Vec<f32>) -> Result<(), Error> {
                panic!("no rows today")
            }
        }
        let order = order(Shuffle::None);
        let caught = std::panic::catch_unwind(|| prefetched(&Panics, &order, AHEAD)).unwrap_err();
        assert_eq!(caught.downcast_ref::<&str>(), Some(&"no rows today"));
    }
}
