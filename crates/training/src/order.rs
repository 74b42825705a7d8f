//! In which order rows are seen: the batches of an epoch, which seed and epoch alone decide, from any step on.

use std::ops::Range;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::Error;
use crate::config::{config, split_tag};
use crate::name::{self, Kind};
use crate::seed::{Generator, Purpose};

const BLOCK_ROWS_MAX: usize = 1 << 24;
const WINDOW_BLOCKS_MAX: usize = 1 << 16;

/// `fit.shuffle`: how rows are shuffled before each epoch. In a file also `true` (`"rows"`) and `false` (`"none"`).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum Shuffle {
    /// As they come.
    None,
    /// All rows, every order equally likely.
    #[default]
    Rows,
    /// Blocks of neighbours, then the rows of a few blocks at a time: for rows that do not fit into memory.
    Blocks(BlocksConfig),
    /// Whole dates: a batch is as many of them as it has room for, at least one. For losses and metrics of a
    /// cross-section.
    Dates,
}

/// Shuffled in blocks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BlocksConfig {
    /// Neighbouring rows that are read at once.
    pub block_rows: usize,
    /// Blocks in memory at a time, whose rows are shuffled together.
    pub window_blocks: usize,
}

impl Default for BlocksConfig {
    fn default() -> Self {
        Self { block_rows: 4096, window_blocks: 64 }
    }
}

impl Shuffle {
    /// Checks every value.
    ///
    /// # Errors
    /// [`Error::Config`], naming the first key whose value cannot be.
    pub fn check(&self) -> Result<(), Error> {
        let Self::Blocks(BlocksConfig { block_rows, window_blocks }) = self else { return Ok(()) };
        for (key, value, most) in
            [("block_rows", block_rows, BLOCK_ROWS_MAX), ("window_blocks", window_blocks, WINDOW_BLOCKS_MAX)]
        {
            if !(1..=most).contains(value) {
                let way_out = format!("it must be between 1 and {most}");
                return Err(config(format!("fit.shuffle.{key}"), value, way_out));
            }
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Shuffle {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const KIND: Kind = Kind { one: "shuffle", all: "shuffles" };
        const NAMES: &[(&str, u8)] = &[("none", 0), ("rows", 1), ("blocks", 2), ("dates", 3)];
        let value = match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::Bool(true) => return Ok(Self::Rows),
            serde_json::Value::Bool(false) => return Ok(Self::None),
            value => value,
        };
        let (name, rest) = split_tag(value, "name", KIND).map_err(D::Error::custom)?;
        let found = name::find(KIND, &name, NAMES).map_err(D::Error::custom)?;
        if found == 2 {
            return BlocksConfig::deserialize(rest).map(Self::Blocks).map_err(D::Error::custom);
        }
        if let Some(field) = rest.as_object().and_then(|rest| rest.keys().next()) {
            return Err(D::Error::custom(format!("unknown field `{field}`: \"{name}\" takes none")));
        }
        Ok(match found {
            0 => Self::None,
            1 => Self::Rows,
            _ => Self::Dates,
        })
    }
}

/// The order of rows of a fit: for each epoch, counted from 1, batches of rows.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    shuffle: Shuffle,
    seed: u64,
    batch_size: usize,
    rows: usize,
    dates: Dates,
}

/// Rows by date, if they are shuffled so.
#[derive(Debug, Clone, Default)]
struct Dates {
    /// All rows, those of a date together and in order.
    rows: Vec<u32>,
    /// Where each date begins and ends in `rows`.
    of_date: Vec<Range<usize>>,
}

/// What an order is made of, beside the rows.
#[derive(Debug, Clone)]
pub(crate) struct OrderConfig {
    /// How they are shuffled.
    pub(crate) shuffle: Shuffle,
    /// Decides how, together with the epoch.
    pub(crate) seed: u64,
    /// Rows of a batch; the last one of an epoch may be smaller.
    pub(crate) batch_size: usize,
}

impl Order {
    /// Of `rows` rows; `groups` is the date of each, as any integer.
    ///
    /// # Errors
    /// [`Error::Config`] for a value that cannot be, and for shuffled dates where rows have none;
    /// [`Error::TooManyRows`], [`Error::Empty`].
    pub(crate) fn new(order: OrderConfig, rows: usize, groups: Option<&[u32]>) -> Result<Self, Error> {
        let OrderConfig { shuffle, seed, batch_size } = order;
        shuffle.check()?;
        if batch_size == 0 {
            return Err(config("fit.batch_size", &0, "it must be at least 1"));
        }
        if rows == 0 {
            return Err(Error::Empty { set: "training", rows, columns: 0 });
        }
        if rows > u32::MAX as usize {
            return Err(Error::TooManyRows { set: "training", rows });
        }
        let dates = match (&shuffle, groups) {
            (Shuffle::Dates, Some(groups)) if groups.len() == rows => Dates::new(groups),
            (Shuffle::Dates, groups) => {
                let way_out = format!("{} of {rows} rows have a date", groups.map_or(0, <[u32]>::len));
                return Err(config("fit.shuffle", &"\"dates\"", way_out));
            }
            _ => Dates::default(),
        };
        Ok(Self { shuffle, seed, batch_size, rows, dates })
    }

    /// The batches of an epoch.
    pub(crate) fn epoch(&self, epoch: usize) -> EpochOrder<'_> {
        let mut generator = Generator::new(self.seed, Purpose::Order { epoch });
        let batches = |steps: usize| (0..steps).map(|step| self.batch(step)).collect();
        let even = self.rows.div_ceil(self.batch_size);
        let (batches, seen) = match &self.shuffle {
            Shuffle::None => (batches(even), Seen::AsTheyCome),
            Shuffle::Rows => (batches(even), Seen::All(shuffled(self.rows, &mut generator))),
            Shuffle::Blocks(blocks) => {
                (batches(even), Seen::Windows(Box::new(Windows::new(blocks, self.rows, generator))))
            }
            Shuffle::Dates => {
                let dates = shuffled(self.dates.of_date.len(), &mut generator);
                (self.dates.batches(&dates, self.batch_size), Seen::All(self.dates.in_order(&dates)))
            }
        };
        EpochOrder { order: self, epoch, batches, seen }
    }

    /// How many batches an epoch has. Of shuffled dates it is not the same in each.
    pub(crate) fn steps(&self, epoch: usize) -> usize {
        match self.shuffle {
            Shuffle::Dates => self.epoch(epoch).steps(),
            _ => self.rows.div_ceil(self.batch_size),
        }
    }

    /// Rows of a block and blocks used at a time, if rows come in blocks.
    pub(crate) fn blocks(&self) -> Option<(usize, usize)> {
        match &self.shuffle {
            Shuffle::Blocks(BlocksConfig { block_rows, window_blocks }) => {
                Some((*block_rows, *window_blocks))
            }
            _ => None,
        }
    }

    fn batch(&self, step: usize) -> Range<usize> {
        let begin = step * self.batch_size;
        begin..(begin + self.batch_size).min(self.rows)
    }
}

/// The batches of one epoch.
#[derive(Debug)]
pub(crate) struct EpochOrder<'a> {
    order: &'a Order,
    epoch: usize,
    /// Which stretch of the rows as they are seen each batch is.
    batches: Vec<Range<usize>>,
    seen: Seen,
}

/// The rows as they are seen.
enum Seen {
    AsTheyCome,
    All(Vec<u32>),
    Windows(Box<Windows>),
}

impl EpochOrder<'_> {
    /// How many batches there are.
    pub(crate) fn steps(&self) -> usize {
        self.batches.len()
    }

    /// Replaces `out` by the rows of batch `step`, counted from 0 and below [`EpochOrder::steps`]. Any step may be
    /// asked for; forward is fast.
    pub(crate) fn batch(&mut self, step: usize, out: &mut Vec<u32>) {
        out.clear();
        let batch = self.batches[step].clone();
        match &mut self.seen {
            Seen::AsTheyCome => out.extend(batch.map(|row| row as u32)),
            Seen::All(rows) => out.extend_from_slice(&rows[batch]),
            Seen::Windows(windows) => {
                if batch.start < windows.begin {
                    let fresh = self.order.epoch(self.epoch).seen;
                    if let Seen::Windows(fresh) = fresh {
                        *windows = fresh;
                    }
                }
                windows.take(batch, out);
            }
        }
    }
}

/// Blocks in a random order, a few at a time, with the rows of these in a random order.
struct Windows {
    /// Blocks in their order.
    blocks: Vec<u32>,
    block_rows: usize,
    window_blocks: usize,
    rows: usize,
    generator: Generator,
    /// The running window: its rows in their order, and where they begin in the epoch.
    window: Vec<u32>,
    begin: usize,
    /// The first block after it.
    next: usize,
}

impl Windows {
    fn new(config: &BlocksConfig, rows: usize, mut generator: Generator) -> Self {
        let BlocksConfig { block_rows, window_blocks } = *config;
        let blocks = shuffled(rows.div_ceil(block_rows), &mut generator);
        Self { blocks, block_rows, window_blocks, rows, generator, window: Vec::new(), begin: 0, next: 0 }
    }

    /// Adds a stretch of the epoch, which begins in the running window or after it.
    fn take(&mut self, stretch: Range<usize>, out: &mut Vec<u32>) {
        let mut at = stretch.start;
        while at < stretch.end {
            let end = self.begin + self.window.len();
            if at >= end {
                self.advance();
                continue;
            }
            let upto = stretch.end.min(end);
            out.extend_from_slice(&self.window[at - self.begin..upto - self.begin]);
            at = upto;
        }
    }

    fn advance(&mut self) {
        self.begin += self.window.len();
        self.window.clear();
        let end = (self.next + self.window_blocks).min(self.blocks.len());
        for &block in &self.blocks[self.next..end] {
            let begin = block as usize * self.block_rows;
            self.window.extend((begin..(begin + self.block_rows).min(self.rows)).map(|row| row as u32));
        }
        self.generator.shuffle(&mut self.window);
        self.next = end;
    }
}

impl Dates {
    fn new(groups: &[u32]) -> Self {
        let mut rows: Vec<u32> = (0..groups.len() as u32).collect();
        rows.sort_by_key(|&row| groups[row as usize]);
        let mut of_date = Vec::new();
        let mut begin = 0;
        for date in rows.chunk_by(|&a, &b| groups[a as usize] == groups[b as usize]) {
            of_date.push(begin..begin + date.len());
            begin += date.len();
        }
        Self { rows, of_date }
    }

    /// Batches of whole dates, in this order of them.
    fn batches(&self, dates: &[u32], batch_size: usize) -> Vec<Range<usize>> {
        let mut batches = Vec::new();
        let mut batch = 0..0;
        for &date in dates {
            let rows = self.of_date[date as usize].len();
            if !batch.is_empty() && batch.len() + rows > batch_size {
                batches.push(batch.clone());
                batch.start = batch.end;
            }
            batch.end += rows;
        }
        batches.push(batch);
        batches
    }

    fn in_order(&self, dates: &[u32]) -> Vec<u32> {
        dates.iter().flat_map(|&date| &self.rows[self.of_date[date as usize].clone()]).copied().collect()
    }
}

impl std::fmt::Debug for Seen {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::AsTheyCome => "AsTheyCome",
            Self::All(_) => "All",
            Self::Windows(_) => "Windows",
        })
    }
}

/// `0..count` in a random order.
fn shuffled(count: usize, generator: &mut Generator) -> Vec<u32> {
    let mut items: Vec<u32> = (0..count as u32).collect();
    generator.shuffle(&mut items);
    items
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: usize = 103;
    const BATCH_SIZE: usize = 8;

    /// 13 dates of 5 to 11 rows, which do not stand together.
    fn groups() -> Vec<u32> {
        (0..ROWS).map(|row| [7, 3, 11, 2, 9, 4, 1, 12, 5, 10, 6, 8, 0][(row * row + row / 9) % 13]).collect()
    }

    fn made(shuffle: Shuffle, seed: u64) -> Order {
        Order::new(OrderConfig { shuffle, seed, batch_size: BATCH_SIZE }, ROWS, Some(&groups())).unwrap()
    }

    fn blocks(block_rows: usize, window_blocks: usize) -> Shuffle {
        Shuffle::Blocks(BlocksConfig { block_rows, window_blocks })
    }

    fn all() -> Vec<Shuffle> {
        vec![Shuffle::None, Shuffle::Rows, blocks(10, 3), blocks(7, 1), blocks(200, 2), Shuffle::Dates]
    }

    fn batches(order: &Order, epoch: usize) -> Vec<Vec<u32>> {
        let mut epoch_order = order.epoch(epoch);
        let steps = 0..epoch_order.steps();
        steps
            .map(|step| {
                let mut rows = vec![7; 3];
                epoch_order.batch(step, &mut rows);
                rows
            })
            .collect()
    }

    #[test]
    fn every_row_is_seen_once_an_epoch_in_an_order_of_its_own() {
        for shuffle in all() {
            let order = made(shuffle.clone(), 7);
            let first = batches(&order, 1);
            let mut rows = first.concat();
            assert_eq!(first, batches(&order, 1));
            let others = [batches(&order, 2).concat(), batches(&made(shuffle.clone(), 8), 1).concat()];
            let as_they_come = shuffle == Shuffle::None;
            assert!(others.iter().all(|other| (*other == rows) == as_they_come), "{shuffle:?}");
            assert_eq!(order.steps(1), first.len());
            if shuffle != Shuffle::Dates {
                assert!(first[..12].iter().all(|batch| batch.len() == BATCH_SIZE) && first[12].len() == 7);
            }
            rows.sort_unstable();
            assert_eq!(rows, (0..ROWS as u32).collect::<Vec<u32>>(), "{shuffle:?}");
        }
    }

    #[test]
    fn any_step_can_be_asked_for() {
        for shuffle in all() {
            let order = made(shuffle.clone(), 3);
            let whole = batches(&order, 4);
            for from in 0..whole.len() {
                let mut resumed = order.epoch(4);
                let mut rows = Vec::new();
                for step in (from..whole.len()).chain([from, 0]) {
                    resumed.batch(step, &mut rows);
                    assert_eq!(rows, whole[step], "{shuffle:?} from {from}: {step}");
                }
            }
        }
    }

    #[test]
    fn all_rows_are_shuffled_as_the_generator_does() {
        let mut expected: Vec<u32> = (0..ROWS as u32).collect();
        Generator::new(5, Purpose::Order { epoch: 2 }).shuffle(&mut expected);
        assert_eq!(batches(&made(Shuffle::Rows, 5), 2).concat(), expected);
        assert_eq!(batches(&made(Shuffle::None, 5), 2).concat(), (0..ROWS as u32).collect::<Vec<u32>>());
        // One window that holds everything is a shuffle of everything, though not the same.
        assert_ne!(batches(&made(blocks(200, 1), 5), 2).concat(), (0..ROWS as u32).collect::<Vec<u32>>());
    }

    #[test]
    fn few_blocks_are_used_at_a_time() {
        let rows = batches(&made(blocks(10, 3), 1), 1).concat();
        let block_order: Vec<u32> = rows.iter().map(|row| row / 10).collect();
        let mut windows = Vec::new();
        let mut begin = 0;
        while begin < ROWS {
            // A window of three blocks, one of which may be the last, of three rows.
            let has_last = block_order[begin..].iter().take(30).filter(|&&block| block == 10).count() == 3;
            let blocks_left = (0..11u32).filter(|block| block_order[begin..].contains(block)).count();
            let length = blocks_left.min(3) * 10 - if has_last { 7 } else { 0 };
            let mut used = block_order[begin..begin + length].to_vec();
            used.sort_unstable();
            used.dedup();
            assert!(
                used.len() <= 3 && used.iter().all(|block| !block_order[begin + length..].contains(block))
            );
            windows.push(used);
            begin += length;
        }
        assert_eq!(windows.concat().len(), 11);
        assert_ne!(windows.concat(), (0..11).collect::<Vec<u32>>());
    }

    #[test]
    fn dates_stay_whole() {
        let groups = groups();
        let order = made(Shuffle::Dates, 1);
        let mut date_of_steps = Vec::new();
        for batch in batches(&order, 1) {
            let mut dates: Vec<u32> = batch.iter().map(|&row| groups[row as usize]).collect();
            dates.dedup();
            for date in &dates {
                let all: Vec<u32> = (0..ROWS as u32).filter(|&row| groups[row as usize] == *date).collect();
                let here: Vec<u32> =
                    batch.iter().copied().filter(|&row| groups[row as usize] == *date).collect();
                assert_eq!(here, all);
            }
            assert!(batch.len() <= BATCH_SIZE || dates.len() == 1);
            date_of_steps.extend(dates);
        }
        assert_ne!(date_of_steps, (0..13).collect::<Vec<u32>>());
        date_of_steps.sort_unstable();
        assert_eq!(date_of_steps, (0..13).collect::<Vec<u32>>());
        // Room for several, for all, and for none.
        for (batch_size, expected) in [(20, None), (ROWS, Some(1)), (1, Some(13))] {
            let config = OrderConfig { shuffle: Shuffle::Dates, seed: 1, batch_size };
            let order = Order::new(config, ROWS, Some(&groups)).unwrap();
            let steps = order.steps(1);
            assert!(
                expected.map_or(steps > 5 && steps < 13, |expected| steps == expected),
                "{batch_size}: {steps}"
            );
        }
    }

    #[test]
    fn what_cannot_be_ordered_is_named() {
        let new = |shuffle, rows, groups: Option<&[u32]>| {
            Order::new(OrderConfig { shuffle, seed: 0, batch_size: 1 }, rows, groups).unwrap_err().to_string()
        };
        assert_eq!(new(Shuffle::Dates, 3, None), "fit.shuffle is \"dates\"; 0 of 3 rows have a date");
        assert_eq!(new(Shuffle::Dates, 3, Some(&[1])), "fit.shuffle is \"dates\"; 1 of 3 rows have a date");
        assert!(new(Shuffle::Rows, 0, None).starts_with("the training set is empty"));
        assert!(new(Shuffle::Rows, 1 << 33, None).contains("has 8589934592 rows"));
        assert_eq!(
            new(blocks(0, 1), 3, None),
            "fit.shuffle.block_rows is 0; it must be between 1 and 16777216"
        );
        assert_eq!(
            new(blocks(1, 0), 3, None),
            "fit.shuffle.window_blocks is 0; it must be between 1 and 65536"
        );
    }

    #[test]
    fn a_shuffle_is_read_and_written() {
        #[derive(Debug, Deserialize, Serialize)]
        struct Fit {
            shuffle: Shuffle,
        }
        let read = |text: &str| {
            let fit: Result<Fit, _> = toml::from_str(&format!("shuffle = {text}"));
            fit.map(|fit| fit.shuffle).map_err(|error| error.message().to_owned())
        };
        for (text, expected) in [
            ("true", Shuffle::Rows),
            ("false", Shuffle::None),
            ("\"dates\"", Shuffle::Dates),
            ("{ name = \"rows\" }", Shuffle::Rows),
            ("\"blocks\"", blocks(4096, 64)),
            ("{ name = \"blocks\", block_rows = 100 }", blocks(100, 64)),
        ] {
            assert_eq!(read(text), Ok(expected.clone()));
            let written = toml::to_string(&Fit { shuffle: expected.clone() }).unwrap();
            assert_eq!(toml::from_str::<Fit>(&written).unwrap().shuffle, expected);
        }
        assert_eq!(
            read("\"date\"").unwrap_err(),
            "unknown shuffle \"date\"; did you mean \"dates\"? shuffles: none, rows, blocks, dates"
        );
        assert_eq!(
            read("{ name = \"rows\", block_rows = 1 }").unwrap_err(),
            "unknown field `block_rows`: \"rows\" takes none"
        );
        assert!(read("{ name = \"blocks\", rows = 1 }").unwrap_err().starts_with("unknown field `rows`"));
    }
}
