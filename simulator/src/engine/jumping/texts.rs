//! What the blocks of a replica hold: a tree of texts.
//!
//! The beginning of a prompt is a path from the root, one node for each piece of text. All prompts
//! that go through a node have the same tokens up to there, so a node and the number of a block say
//! what the block holds. A block that reaches over an end belongs to the text in which it ends.
//!
//! Blocks are kept by the run and not one by one. What one sequence wrote into a node is a
//! [`Strand`]. Its blocks differ only in who uses them and when they were freed; where they do, the
//! strand falls into [`Piece`]s. Nearly always it is one.

use rustc_hash::FxHashMap;
use slab::Slab;

use super::super::TextId;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct NodeId(usize);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StrandId(usize);

/// Where a text stands: after which, from which token on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) after: NodeId,
    pub(super) start: u32,
    pub(super) text: TextId,
}

#[derive(Debug)]
struct Node {
    /// `None` for the root, and for the text that one sequence alone has.
    place: Option<Place>,
    strands: Vec<StrandId>,
    /// Nodes after this one, strands, and sequences that hold it.
    users: u32,
}

/// Blocks that one sequence wrote.
#[derive(Debug)]
pub(super) struct Strand {
    pub(super) node: NodeId,
    /// In the order of their blocks.
    pub(super) pieces: Vec<Piece>,
}

/// Blocks `from..to` of a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) from: u32,
    pub(super) to: u32,
    /// Sequences that use them.
    pub(super) users: u32,
    /// When they were written, by a count of such events.
    pub(super) written: u64,
    /// When they were freed, by such a count, if nobody uses them.
    pub(super) freed: u64,
}

impl Piece {
    pub(super) const fn len(&self) -> u32 {
        self.to - self.from
    }
}

/// Blocks of a strand that a sequence uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hold {
    pub(super) strand: StrandId,
    pub(super) from: u32,
    pub(super) to: u32,
    /// Whether it wrote them.
    pub(super) wrote: bool,
}

/// All texts of which blocks remain.
#[derive(Debug)]
pub(super) struct Texts {
    nodes: Slab<Node>,
    /// Looked up and never walked, so that its order is nobody's concern.
    places: FxHashMap<Place, NodeId>,
    strands: Slab<Strand>,
}

impl Texts {
    pub(super) const ROOT: NodeId = NodeId(0);

    pub(super) fn new() -> Self {
        let mut nodes = Slab::new();
        nodes.insert(Node { place: None, strands: Vec::new(), users: 1 });
        Self { nodes, places: FxHashMap::default(), strands: Slab::new() }
    }

    /// The node at a place, if there is one.
    pub(super) fn at(&self, place: &Place) -> Option<NodeId> {
        self.places.get(place).copied()
    }

    /// The node at a place, made if need be. Somebody has to hold it, or it will go.
    pub(super) fn make(&mut self, place: Place) -> NodeId {
        let nodes = &mut self.nodes;
        *self.places.entry(place).or_insert_with(|| {
            nodes[place.after.0].users += 1;
            NodeId(nodes.insert(Node { place: Some(place), strands: Vec::new(), users: 0 }))
        })
    }

    /// A node that nobody else will find.
    pub(super) fn make_own(&mut self) -> NodeId {
        NodeId(self.nodes.insert(Node { place: None, strands: Vec::new(), users: 0 }))
    }

    pub(super) fn hold(&mut self, node: NodeId) {
        self.nodes[node.0].users += 1;
    }

    /// Ends a hold, and lets go what nobody needs any more.
    pub(super) fn let_go(&mut self, mut node: NodeId) {
        loop {
            self.nodes[node.0].users -= 1;
            if self.nodes[node.0].users > 0 {
                return;
            }
            let Some(place) = self.nodes.remove(node.0).place else { return };
            self.places.remove(&place);
            node = place.after;
        }
    }

    pub(super) fn strand(&self, id: StrandId) -> Option<&Strand> {
        self.strands.get(id.0)
    }

    /// Finds blocks of a node, from `from` on and before `to`, and adds them to `found`. Returns
    /// where they end, and how many of them somebody uses.
    pub(super) fn find(
        &self,
        node: NodeId,
        mut from: u32,
        to: u32,
        found: &mut Vec<Hold>,
    ) -> (u32, u32) {
        let mut used = 0;
        let strands = &self.nodes[node.0].strands;
        while from < to {
            let strands = strands.iter().map(|&id| (id, &self.strands[id.0]));
            let pieces =
                strands.flat_map(|(id, strand)| strand.pieces.iter().map(move |piece| (id, piece)));
            let here = pieces.filter(|(_, piece)| piece.from <= from && from < piece.to);
            // Of several that hold the same, the oldest is found. To the end of its piece it stays
            // that: a copy that begins within the piece was written after the blocks before it, and
            // were it older than the piece, so were they, and would have been found here.
            let Some((strand, piece)) = here.min_by_key(|(_, piece)| piece.written) else { break };
            let end = piece.to.min(to);
            if piece.users > 0 {
                used += end - from;
            }
            match found.last_mut() {
                Some(last) if last.strand == strand && last.to == from => last.to = end,
                _ => found.push(Hold { strand, from, to: end, wrote: false }),
            }
            from = end;
        }
        (from, used)
    }

    /// The pieces of a hold, as a range of places, cut so that they cover just that.
    pub(super) fn pieces(&mut self, hold: &Hold) -> &mut [Piece] {
        let pieces = &mut self.strands[hold.strand.0].pieces;
        // Nearly always it is the whole strand.
        if let [only] = pieces.as_slice()
            && only.from == hold.from
            && only.to == hold.to
        {
            return pieces;
        }
        for at in [hold.from, hold.to] {
            if let Some(idx) = pieces.iter().position(|piece| piece.from < at && at < piece.to) {
                let rest = Piece { from: at, ..pieces[idx] };
                pieces[idx].to = at;
                pieces.insert(idx + 1, rest);
            }
        }
        let begin = pieces.partition_point(|piece| piece.to <= hold.from);
        let end = pieces.partition_point(|piece| piece.from < hold.to);
        &mut pieces[begin..end]
    }

    /// A new strand of one piece.
    pub(super) fn write(&mut self, node: NodeId, piece: Piece) -> StrandId {
        let strand = StrandId(self.strands.insert(Strand { node, pieces: vec![piece] }));
        self.nodes[node.0].strands.push(strand);
        self.nodes[node.0].users += 1;
        strand
    }

    /// Lets a strand that its writer still holds grow to block `to`. `written` is for a new piece,
    /// if one is needed: the blocks of a piece have the same users, and are equally old against
    /// others of their node.
    pub(super) fn write_on(&mut self, hold: &mut Hold, to: u32, written: u64) {
        let strand = &mut self.strands[hold.strand.0];
        let alone = self.nodes[strand.node.0].strands.len() == 1;
        let (from, users) = (hold.to, 1);
        match strand.pieces.last_mut() {
            Some(last) if alone && last.users == 1 && last.to == from => last.to = to,
            _ => strand.pieces.push(Piece { from, to, users, written, freed: 0 }),
        }
        hold.to = to;
    }

    /// Forgets up to `most` blocks that were freed at `freed`, the last one first, and returns how
    /// many there were.
    pub(super) fn forget(&mut self, id: StrandId, freed: u64, most: u32) -> Option<u32> {
        let strand = self.strands.get_mut(id.0)?;
        let idx = strand.pieces.iter().rposition(|piece| piece.freed == freed)?;
        let piece = &mut strand.pieces[idx];
        let count = piece.len().min(most);
        piece.to -= count;
        if piece.len() == 0 {
            strand.pieces.remove(idx);
        }
        if strand.pieces.is_empty() {
            let node = strand.node;
            self.strands.remove(id.0);
            self.nodes[node.0].strands.retain(|&strand| strand != id);
            self.let_go(node);
        }
        Some(count)
    }
}
