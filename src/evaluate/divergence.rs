//! How likely models find a text, and how far their guesses are from those of a reference. All models read each window
//! before the next one is read, so no logits are kept; sums go over the places in their order, whatever the threads.
//! Specification: llama.cpp v0.5.0, `tools/perplexity`.

use super::windows::{How, Text, Windows};
use crate::measure::likelihood::{Comparison, Estimate, Guess, Place, perplexity};
use crate::stages::Stages;
use ggraft_formats::error::Printable;
use ggraft_formats::{Error, Result};
use ggraft_runtime::{Context, Library, Model};
use rayon::iter::{IntoParallelIterator, ParallelIterator};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// What was measured.
pub struct Measured {
    /// Tokens of the text.
    pub tokens: usize,
    /// Windows that were read, and the tokens of each.
    pub windows: usize,
    pub window: usize,
    /// Places in which guesses were compared with what comes.
    pub places: usize,
    /// The reference, with its perplexity.
    pub reference: Option<(PathBuf, Estimate)>,
    pub models: Vec<Run>,
    /// What is odd, in words.
    pub notes: Vec<String>,
}

/// A model, with its perplexity and how it compares with the reference, if there is one.
pub struct Run {
    pub file: PathBuf,
    pub perplexity: Estimate,
    pub compared: Option<Comparison>,
}

/// Runs `models`, and `reference` if there is one, over the text.
///
/// # Errors
/// A model does not load or compute, takes the text for other tokens than the others, or gives logits that are not finite;
/// the text is too short.
pub fn measure(
    library: &'static Library,
    (models, reference): (&[PathBuf], Option<&Path>),
    text: &Text,
    how: &How,
    stages: &dyn Stages,
) -> Result<Measured> {
    let files: Vec<&Path> = reference.into_iter().chain(models.iter().map(PathBuf::as_path)).collect();
    let loaded = load(library, &files, how, stages)?;
    let Some((first, others)) = loaded.split_first() else {
        return Err(Error::usage("no model is named"));
    };
    let windows = Windows::of(text, first, how)?;
    others.iter().try_for_each(|model| same_tokens(first, model, text, &windows, how))?;
    let seats = loaded.iter().map(|model| Seat::new(model, &windows)).collect::<Result<Vec<_>>>()?;
    let mut table = Table { seats, windows: &windows, has_reference: reference.is_some() };
    stages.begin("reading the text", windows.count);
    for group in windows.groups() {
        table.read(&group)?;
        group.for_each(|_| stages.step());
    }
    stages.end();
    Ok(table.told(reference, &loaded))
}

fn load(library: &'static Library, files: &[&Path], how: &How, stages: &dyn Stages) -> Result<Vec<Model>> {
    stages.begin("loading models", files.len());
    let load = |file: &&Path| {
        let model = Model::load(library, file, how.device_layers)?;
        stages.step();
        Ok(model)
    };
    let loaded = files.iter().map(load).collect();
    stages.end();
    loaded
}

fn same_tokens(first: &Model, model: &Model, text: &Text, windows: &Windows, how: &How) -> Result<()> {
    let other = || {
        let first = first.file().to_string_lossy();
        Error::invalid(format!("the text is other tokens to this model than to {}", Printable(&first)))
            .file(model.file())
            .hint("only models with the same vocabulary can be compared; measure them one by one, without --against")
    };
    let (ours, theirs) = (first.vocabulary_size(), model.vocabulary_size());
    if ours != theirs {
        return Err(other().expected(format!("{ours} tokens in its vocabulary")).found(theirs));
    }
    match windows.differs(&Windows::of(text, model, how)?) {
        None => Ok(()),
        Some(at) => Err(other().expected("the same tokens").found(format!("another at {at}"))),
    }
}

/// A model at work.
struct Seat<'m> {
    model: &'m Model,
    context: Context<'m>,
    surprises: Vec<f64>,
    places: Vec<Place>,
}

impl<'m> Seat<'m> {
    fn new(model: &'m Model, windows: &Windows) -> Result<Seat<'m>> {
        let context = Context::new(model, &windows.reading)?;
        Ok(Seat { model, context, surprises: Vec::new(), places: Vec::new() })
    }
}

/// The models at work on one text, the reference first if there is one.
struct Table<'m> {
    seats: Vec<Seat<'m>>,
    windows: &'m Windows,
    has_reference: bool,
}

impl Table<'_> {
    /// Lets all models read the windows of a group, and scores their guesses.
    fn read(&mut self, group: &Range<usize>) -> Result<()> {
        self.seats.iter_mut().for_each(|seat| seat.context.clear());
        let scored = self.windows.scored();
        for stretch in self.windows.reading.stretches() {
            for seat in &mut self.seats {
                let batch = self.windows.batch(group, &stretch, seat.model.start(), scored.start);
                seat.context.read(&batch)?;
            }
            let places = stretch.start.max(scored.start)..stretch.end.min(scored.end);
            for (text, window) in group.clone().enumerate() {
                self.score(text * stretch.len(), window, places.clone(), stretch.start)?;
            }
        }
        Ok(())
    }

    /// Scores places of a window, whose stretch begins in the batch at `offset` and in the window at `start`.
    fn score(&mut self, offset: usize, window: usize, places: Range<usize>, start: usize) -> Result<()> {
        let mut reference: Option<Vec<Guess<'_>>> = None;
        let mut all = Vec::with_capacity(self.seats.len());
        for (i, seat) in self.seats.iter().enumerate() {
            let logits = places.clone().map(|place| seat.context.logits(offset + place - start));
            let logits = logits.collect::<Result<Vec<&[f32]>>>()?;
            let guess = |place: usize| {
                let token = self.windows.token(window, place + 1, None);
                Guess::of(logits[place - places.start], usize::try_from(token).unwrap_or(usize::MAX))
            };
            let guesses: Vec<_> = places.clone().into_par_iter().map(guess).collect();
            let guesses = places
                .clone()
                .zip(guesses)
                .map(|(place, guess)| guess.ok_or_else(|| not_finite(seat.model, window, place)));
            let guesses = guesses.collect::<Result<Vec<_>>>()?;
            let beside: Vec<Place> = match &reference {
                None => Vec::new(),
                Some(reference) => {
                    (0..guesses.len()).into_par_iter().map(|i| guesses[i].beside(&reference[i])).collect()
                }
            };
            all.push((guesses.iter().map(Guess::surprise).collect::<Vec<f64>>(), beside));
            if i == 0 && self.has_reference {
                reference = Some(guesses);
            }
        }
        for (seat, (surprises, beside)) in self.seats.iter_mut().zip(all) {
            seat.surprises.extend(surprises);
            seat.places.extend(beside);
        }
        Ok(())
    }

    fn told(self, reference: Option<&Path>, loaded: &[Model]) -> Measured {
        let window = self.windows.reading.window;
        let notes = loaded.iter().filter(|model| model.trained_on() < window).map(|model| {
            let file = model.file().to_string_lossy();
            format!("warning: {} was trained on windows of {} tokens", Printable(&file), model.trained_on())
        });
        let notes = notes.collect();
        let places = self.seats.first().map_or(0, |seat| seat.surprises.len());
        let of = |seat: &Seat<'_>| perplexity(&seat.surprises);
        let told = reference.and_then(|file| Some((file.to_path_buf(), of(self.seats.first()?))));
        let run = |seat: &Seat<'_>| Run {
            file: seat.model.file().to_path_buf(),
            perplexity: of(seat),
            compared: self.has_reference.then(|| Comparison::of(&seat.places)),
        };
        Measured {
            tokens: self.windows.tokens(),
            windows: self.windows.count,
            window,
            places,
            reference: told,
            models: self.seats.iter().skip(usize::from(self.has_reference)).map(run).collect(),
            notes,
        }
    }
}

fn not_finite(model: &Model, window: usize, place: usize) -> Error {
    Error::invalid("what the model guesses is not finite")
        .file(model.file())
        .expected("finite logits")
        .found(format!("others, or none, in window {window} after token {place}"))
        .hint("a weight or an activation has overflowed: see `ggraft verify`, or measure another file of the model")
}
