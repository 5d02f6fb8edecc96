//! The parts of NVFP4, moved as what they are of is: groups of 16 elements are moved as one. Where a group would be taken
//! apart, or several numbers of the whole would hold in one matrix, the parts are lost and the values remain.

use super::super::axes::{Piece, Step};
use super::elements;
use ggraft_formats::{Fours, GROUP, Number, Tensor};

/// The parts of what `pieces` of `sources` become, if all of these have parts.
pub fn moved(torch: &[u64], sources: &[Tensor], pieces: &[Piece]) -> Option<Fours> {
    let parts: Vec<Fours> = sources.iter().map(Tensor::fours).collect::<Option<_>>()?;
    let row = *torch.last()?;
    let each = sources.first()?.shape().elements();
    if !is_stack(sources.len() as u64, each, pieces) || !row.is_multiple_of(GROUP) {
        return None;
    }
    let pieces: Vec<Piece> = pieces.iter().map(of_groups).collect::<Option<_>>()?;
    let mut torch = torch.to_vec();
    torch.last_mut().into_iter().for_each(|row| *row /= GROUP);
    let part = |of: fn(&Fours) -> &Tensor| {
        let sources: Vec<Tensor> = parts.iter().map(|parts| of(parts).clone()).collect();
        let name = sources.first()?.name.clone();
        elements(&name, &torch, sources, &pieces).ok()
    };
    let numbers = |of: fn(&Fours) -> &[Number]| parts.iter().flat_map(|parts| of(parts).to_vec()).collect();
    Some(Fours {
        codes: part(|parts| &parts.codes)?,
        scales: part(|parts| &parts.scales)?,
        whole: numbers(|parts| &parts.whole),
        inputs: numbers(|parts| &parts.inputs),
        wide_inputs: parts.iter().all(|parts| parts.wide_inputs),
    })
}

/// Whether there is one source, or `count` matrices of `each` elements lie upon each other in their order.
fn is_stack(count: u64, each: u64, pieces: &[Piece]) -> bool {
    let steps =
        |piece: &Piece| piece.steps.iter().filter(|step| step.tensor != 0).copied().collect::<Vec<_>>();
    let [piece] = pieces else { return count == 1 };
    let is_of_all = |step: &Step| step.size == count && step.tensor == 1 && step.to == each && step.from == 0;
    count == 1
        || piece.source == 0 && piece.to == 0 && matches!(steps(piece).as_slice(), [step] if is_of_all(step))
}

/// The piece, counting groups in place of elements.
fn of_groups(piece: &Piece) -> Option<Piece> {
    let whole = |n: u64| n.is_multiple_of(GROUP).then_some(n / GROUP);
    let step = |step: &Step| match (step.from, step.to) {
        _ if step.size == 1 => Some(Step { from: 0, to: 0, ..*step }),
        (1, 1) => Some(Step { size: whole(step.size)?, ..*step }),
        (from, to) => Some(Step { from: whole(from)?, to: whole(to)?, ..*step }),
    };
    let steps = piece.steps.iter().map(step).collect::<Option<_>>()?;
    Some(Piece { from: whole(piece.from)?, to: whole(piece.to)?, steps, ..*piece })
}
