//! The packages of a run as a layered graph: who needs whom, and the chain that takes longest. Pure.

use std::collections::BTreeMap;

use crate::record::PackageRecord;

/// A place in the picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Node {
    /// Index in the record.
    pub(super) package: usize,
    /// Layer, from what needs nothing to what needs the most.
    pub(super) column: usize,
    /// Place in the layer; the layers are centred, so that it may be a half.
    pub(super) row: f64,
}

/// Packages that need or are needed, and the edges that no other chain implies.
#[derive(Debug, Default)]
pub(super) struct Graph {
    pub(super) nodes: Vec<Node>,
    /// From what is needed to what needs it: indices in the record.
    pub(super) edges: Vec<(usize, usize)>,
    pub(super) columns: usize,
    pub(super) rows: usize,
}

/// How often the layers are put in the order of their neighbours.
const SWEEPS: usize = 6;

/// What each package needs, as indices: only those before it in the plan, so that there is no cycle.
fn needs(packages: &[PackageRecord]) -> Vec<Vec<usize>> {
    let mut places = BTreeMap::new();
    let mut all = Vec::with_capacity(packages.len());
    for (at, package) in packages.iter().enumerate() {
        let found = package
            .needs
            .iter()
            .filter_map(|name| places.get(name.as_str()));
        all.push(found.copied().collect());
        places.insert(package.name.as_str(), at);
    }
    all
}

/// The chain of packages with the longest builds in sum, in its order; empty where nothing was built.
pub(super) fn critical_path(packages: &[PackageRecord]) -> Vec<usize> {
    let needs = needs(packages);
    let mut ends: Vec<u64> = Vec::with_capacity(packages.len());
    let mut before: Vec<Option<usize>> = Vec::with_capacity(packages.len());
    for (package, needs) in packages.iter().zip(&needs) {
        let last = needs.iter().copied().max_by_key(|&need| ends[need]);
        let start = last.map_or(0, |need| ends[need]);
        ends.push(start.saturating_add(package.milliseconds));
        before.push(last);
    }
    let mut at = (0..packages.len())
        .rev()
        .max_by_key(|&at| ends[at])
        .filter(|&at| ends[at] > 0);
    let mut path = Vec::new();
    while let Some(package) = at {
        path.push(package);
        at = before[package];
    }
    path.reverse();
    path
}

impl Graph {
    /// Of the packages of a run.
    pub(super) fn new(packages: &[PackageRecord]) -> Self {
        let needs = needs(packages);
        let edges = reduced(&needs);
        let columns = columns(packages.len(), &edges);
        let mut layers: Vec<Vec<usize>> = Vec::new();
        let mut related: Vec<usize> = edges.iter().flat_map(|&(a, b)| [a, b]).collect();
        related.sort_unstable();
        related.dedup();
        for &package in &related {
            let column = columns[package];
            layers.resize(layers.len().max(column + 1), Vec::new());
            layers[column].push(package);
        }
        arrange(&mut layers, &edges);
        let rows = layers.iter().map(Vec::len).max().unwrap_or(0);
        let nodes = layers.iter().enumerate().flat_map(|(column, layer)| {
            let above = half(rows - layer.len());
            let place = move |(row, &package): (usize, &usize)| Node {
                package,
                column,
                row: above + whole(row),
            };
            layer.iter().enumerate().map(place)
        });
        Self {
            nodes: nodes.collect(),
            columns: layers.len(),
            rows,
            edges,
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "places in a picture")]
fn whole(count: usize) -> f64 {
    count as f64
}

fn half(count: usize) -> f64 {
    whole(count) / 2.0
}

/// The edges that no longer chain implies, sorted.
fn reduced(needs: &[Vec<usize>]) -> Vec<(usize, usize)> {
    let mut edges = Vec::new();
    let mut reach: Vec<Vec<bool>> = Vec::with_capacity(needs.len());
    for (at, needs) in needs.iter().enumerate() {
        let mut reached = vec![false; at];
        let mut latest_first = needs.clone();
        latest_first.sort_unstable_by(|a, b| b.cmp(a));
        for need in latest_first {
            if reached[need] {
                continue;
            }
            edges.push((need, at));
            reached[need] = true;
            for (other, seen) in reach[need].iter().enumerate() {
                reached[other] |= *seen;
            }
        }
        reach.push(reached);
    }
    edges.sort_unstable();
    edges
}

/// The layer of each package: after all that it needs, and as near as can be to what needs it.
fn columns(count: usize, edges: &[(usize, usize)]) -> Vec<usize> {
    let mut columns = vec![0; count];
    let mut by_end = edges.to_vec();
    by_end.sort_unstable_by_key(|&(_, to)| to);
    for &(from, to) in &by_end {
        columns[to] = columns[to].max(columns[from] + 1);
    }
    let mut nearest: Vec<Option<usize>> = vec![None; count];
    for &(from, to) in edges.iter().rev() {
        // Edges are sorted by their beginning, so that all of `to` were seen.
        let column = nearest[to].unwrap_or(columns[to]) - 1;
        nearest[from] = Some(nearest[from].map_or(column, |other| other.min(column)));
    }
    for (column, nearest) in columns.iter_mut().zip(nearest) {
        *column = nearest.unwrap_or(*column);
    }
    columns
}

/// Puts each layer in the order of its neighbours, forth and back, so that fewer edges cross.
fn arrange(layers: &mut [Vec<usize>], edges: &[(usize, usize)]) {
    for sweep in 0..SWEEPS {
        let forth = sweep % 2 == 0;
        let mut places: BTreeMap<usize, f64> = BTreeMap::new();
        let mut order: Vec<usize> = (0..layers.len()).collect();
        if !forth {
            order.reverse();
        }
        let rows = layers.iter().map(Vec::len).max().unwrap_or(0);
        let mut neighbours: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for &(from, to) in edges {
            let (own, other) = if forth { (to, from) } else { (from, to) };
            neighbours.entry(own).or_default().push(other);
        }
        for column in order {
            let layer = &mut layers[column];
            let own = |row: usize| half(rows - layer.len()) + whole(row);
            let mut wanted: Vec<(f64, usize)> = Vec::with_capacity(layer.len());
            for (row, &package) in layer.iter().enumerate() {
                let around = neighbours.get(&package).into_iter().flatten();
                let around: Vec<f64> = around
                    .filter_map(|other| places.get(other).copied())
                    .collect();
                let middle = around.iter().sum::<f64>() / whole(around.len());
                wanted.push((if around.is_empty() { own(row) } else { middle }, package));
            }
            wanted.sort_by(|a, b| a.0.total_cmp(&b.0));
            for (row, (_, package)) in wanted.iter().enumerate() {
                places.insert(*package, half(rows - layer.len()) + whole(row));
            }
            *layer = wanted.into_iter().map(|(_, package)| package).collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    /// Packages `name needs…` with the milliseconds of their builds.
    fn packages(texts: &[(&str, u64)]) -> Vec<PackageRecord> {
        let make = |(text, milliseconds): &(&str, u64)| {
            let mut words = text.split(' ').map(str::to_owned);
            let mut package = sample::built(&words.next().unwrap(), 0, *milliseconds);
            package.needs = words.collect();
            package
        };
        texts.iter().map(make).collect()
    }

    #[test]
    fn the_critical_path_is_the_longest_chain() {
        let found = packages(&[("a", 5), ("b", 9), ("c a b", 1), ("d a", 20), ("e", 24)]);
        assert_eq!(critical_path(&found), [0, 3]);
        let alone = packages(&[("a", 5), ("e", 24), ("d a", 2)]);
        assert_eq!(critical_path(&alone), [1]);
        assert_eq!(critical_path(&packages(&[("a", 0)])), [0; 0]);
    }

    #[test]
    fn edges_that_a_chain_implies_are_left_out_and_layers_follow_needs() {
        let found = packages(&[
            ("a", 1),
            ("b a", 1),
            ("c a b", 1),
            ("lone", 1),
            ("late", 1),
            ("d c late", 1),
        ]);
        let graph = Graph::new(&found);
        assert_eq!(graph.edges, [(0, 1), (1, 2), (2, 5), (4, 5)]);
        let columns: Vec<_> = graph
            .nodes
            .iter()
            .map(|node| (node.package, node.column))
            .collect();
        assert_eq!(columns, [(0, 0), (1, 1), (2, 2), (4, 2), (5, 3)]);
        assert_eq!((graph.columns, graph.rows), (4, 2));
    }

    #[test]
    fn what_is_unknown_or_comes_later_is_no_edge() {
        let found = packages(&[("a b nothing a", 1), ("b a", 1)]);
        assert_eq!(Graph::new(&found).edges, [(0, 1)]);
    }

    #[test]
    fn neighbours_come_near_each_other() {
        let found = packages(&[("a", 1), ("b", 1), ("c b", 1), ("d a", 1)]);
        let graph = Graph::new(&found);
        let row = |package| {
            graph
                .nodes
                .iter()
                .find(|node| node.package == package)
                .unwrap()
                .row
        };
        assert_eq!((row(0) < row(1), row(3) < row(2)), (true, true));
    }
}
