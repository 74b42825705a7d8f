//! Thinning long series for drawing, without losing what the eye would see.

/// At most about `limit` points that trace the same outline: first, last, lowest and highest of each block.
///
/// Points whose y is not finite are kept as breaks where a block has nothing else.
pub(in crate::report) fn thin(points: &[(f64, f64)], limit: usize) -> Vec<(f64, f64)> {
    let limit = limit.max(8);
    if points.len() <= limit {
        return points.to_vec();
    }
    let mut kept = Vec::with_capacity(limit);
    for block in points.chunks(points.len().div_ceil(limit / 4)) {
        let finite = || (0..block.len()).filter(|&index| block[index].1.is_finite());
        let lowest = finite().min_by(|&a, &b| block[a].1.total_cmp(&block[b].1));
        let highest = finite().max_by(|&a, &b| block[a].1.total_cmp(&block[b].1));
        let mut chosen = vec![0, block.len() - 1];
        chosen.extend(lowest);
        chosen.extend(highest);
        chosen.sort_unstable();
        chosen.dedup();
        kept.extend(chosen.into_iter().map(|index| block[index]));
    }
    kept
}

/// The ranges of consecutive blocks of equal length, as few as keep to `limit` blocks.
pub(in crate::report) fn blocks(len: usize, limit: usize) -> Vec<std::ops::Range<usize>> {
    let size = len.div_ceil(limit.max(1)).max(1);
    (0..len).step_by(size).map(|start| start..(start + size).min(len)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_ends_and_the_extremes() {
        let mut points: Vec<(f64, f64)> =
            (0..10_000).map(|i| (f64::from(i), (f64::from(i) / 500.0).sin())).collect();
        points[4321].1 = -9.0;
        points[777].1 = 9.0;
        let kept = thin(&points, 400);
        assert!(kept.len() <= 400, "{}", kept.len());
        assert_eq!((kept.first(), kept.last()), (points.first(), points.last()));
        assert!(kept.contains(&(4321.0, -9.0)) && kept.contains(&(777.0, 9.0)));
        assert!(kept.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }

    #[test]
    fn short_series_stay_as_they_are() {
        let points = vec![(0.0, 1.0), (1.0, f64::NAN)];
        assert_eq!(thin(&points, 100).len(), 2);
    }

    #[test]
    fn blocks_cover_everything_once() {
        let ranges = blocks(1255, 300);
        assert!(ranges.len() <= 300);
        assert_eq!(ranges.first().map(|range| range.start), Some(0));
        assert_eq!(ranges.last().map(|range| range.end), Some(1255));
        assert!(ranges.windows(2).all(|pair| pair[0].end == pair[1].start));
        assert!(blocks(0, 10).is_empty());
    }
}
