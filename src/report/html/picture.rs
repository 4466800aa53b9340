//! The dependency graph as a picture, with its longest chain.

use maud::{Markup, html};

use super::{cut, place, t, time, tone, word};
use crate::report::graph::{Graph, Node};
use crate::report::night::Night;

const WIDTH: f64 = 164.0;
const HEIGHT: f64 = 26.0;
const GAP: f64 = 44.0;
const ROW: f64 = 33.0;
const MARGIN: f64 = 4.0;
/// A picture of more packages than this shows nothing.
const MOST: usize = 400;

pub(super) fn graph(night: &Night<'_>) -> Markup {
    let packages = &night.record.packages;
    let graph = Graph::new(packages);
    let alone = packages.len() - graph.nodes.len();
    html! {
        @if graph.nodes.is_empty() {
            p.muted { "No package of the project needs another." }
        } @else if graph.nodes.len() > MOST {
            p.muted {
                (graph.nodes.len()) " packages hang together by " (graph.edges.len())
                " edges: too many for a picture."
            }
        } @else {
            (drawing(night, &graph))
            p.key {
                "From left to right, what is needed before what needs it; what follows from other edges is left out. "
                @if alone > 0 { (alone) " that neither need others nor are needed are not shown." }
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "places in a picture")]
fn drawing(night: &Night<'_>, graph: &Graph) -> Markup {
    let width = graph.columns as f64 * (WIDTH + GAP) - GAP + 2.0 * MARGIN;
    let height = graph.rows as f64 * ROW - (ROW - HEIGHT) + 2.0 * MARGIN;
    let corner = |node: &Node| {
        let x = MARGIN + node.column as f64 * (WIDTH + GAP);
        (x, MARGIN + node.row * ROW)
    };
    let of = |package: usize| graph.nodes.iter().find(|node| node.package == package);
    let critical =
        |from: usize, to: usize| night.critical.windows(2).any(|pair| pair == [from, to]);
    let mut edges = graph.edges.clone();
    // What matters most is drawn last.
    edges.sort_by_key(|&(from, to)| critical(from, to));
    html! {
        div.scroll tabindex="0" role="group" aria-label="Graph of the packages" {
            svg.picture width=(place(width)) height=(place(height))
                viewBox=(format!("0 0 {} {}", place(width), place(height))) {
                @for (from, to) in edges {
                    @if let (Some(from_node), Some(to_node)) = (of(from), of(to)) {
                        path.edge.critical[critical(from, to)] fill="none" stroke="#b5b0a6"
                            d=(curve(corner(from_node), corner(to_node))) {}
                    }
                }
                @for node in &graph.nodes { (shape(night, node, corner(node))) }
            }
        }
    }
}

fn curve(from: (f64, f64), to: (f64, f64)) -> String {
    let (x1, y1) = (from.0 + WIDTH, from.1 + HEIGHT / 2.0);
    let (x2, y2) = (to.0, to.1 + HEIGHT / 2.0);
    let bend = (GAP * 0.6).max((x2 - x1) * 0.4);
    let numbers = [x1, y1, x1 + bend, y1, x2 - bend, y2, x2, y2].map(place);
    let [x1, y1, a, b, c, d, x2, y2] = numbers;
    format!("M{x1} {y1}C{a} {b} {c} {d} {x2} {y2}")
}

fn shape(night: &Night<'_>, node: &Node, (x, y): (f64, f64)) -> Markup {
    let package = &night.record.packages[node.package];
    let (class, colour) = tone(&package.outcome);
    let critical = night.critical.len() > 1 && night.critical.contains(&node.package);
    html! {
        a href=(format!("#p{}", node.package)) {
            title { (t(&package.name)) ": " (word(&package.outcome)) ", " (time(package.milliseconds)) }
            rect.node.critical[critical] fill="#fff" stroke="#b5b0a6" rx="5"
                x=(place(x)) y=(place(y)) width=(place(WIDTH)) height=(place(HEIGHT)) {}
            rect.(class) fill=(colour) rx="2"
                x=(place(x + 6.0)) y=(place(y + 6.0)) width="4" height=(place(HEIGHT - 12.0)) {}
            text x=(place(x + 17.0)) y=(place(y + 17.0)) { (cut(&package.name, 22)) }
        }
    }
}
