//! What terminals' colour sequences say: SGR of ECMA-48 (8.3.117), with the extensions that
//! terminals share, as classes of the style sheet.

use anstyle_parse::Params;

/// How text looks. Colours are the 16 of terminals; others become the nearest of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Style {
    text: Option<u8>,
    back: Option<u8>,
    is_bold: bool,
    is_dim: bool,
    is_italic: bool,
    is_underlined: bool,
    is_struck: bool,
    is_inverse: bool,
}

impl Style {
    /// The style after an SGR sequence.
    pub(super) fn after(mut self, params: &Params) -> Style {
        let mut codes = params.iter();
        while let Some(code) = codes.next() {
            match *code {
                [38, ref more @ ..] => self.text = colour(more, &mut codes).or(self.text),
                [48, ref more @ ..] => self.back = colour(more, &mut codes).or(self.back),
                [code, ref more @ ..] => self.set(code, more),
                [] => {}
            }
        }
        self
    }

    fn set(&mut self, code: u16, more: &[u16]) {
        match code {
            0 => *self = Style::default(),
            1 => self.is_bold = true,
            2 => self.is_dim = true,
            3 => self.is_italic = true,
            // `4:0` is none.
            4 => self.is_underlined = more.first() != Some(&0),
            7 => self.is_inverse = true,
            9 => self.is_struck = true,
            22 => (self.is_bold, self.is_dim) = (false, false),
            23 => self.is_italic = false,
            24 => self.is_underlined = false,
            27 => self.is_inverse = false,
            29 => self.is_struck = false,
            30..=37 => self.text = Some((code - 30) as u8),
            39 => self.text = None,
            40..=47 => self.back = Some((code - 40) as u8),
            49 => self.back = None,
            90..=97 => self.text = Some((code - 90 + 8) as u8),
            100..=107 => self.back = Some((code - 100 + 8) as u8),
            _ => {}
        }
    }

    /// Classes, separated by spaces; empty for plain text.
    pub(super) fn classes(&self) -> String {
        let (text, back) =
            if self.is_inverse { (self.back, self.text) } else { (self.text, self.back) };
        let mut classes = Vec::new();
        classes.extend(text.map(|colour| format!("t{colour}")));
        classes.extend(back.map(|colour| format!("k{colour}")));
        let flags = [
            (self.is_inverse && text.or(back).is_none(), "inverse"),
            (self.is_bold, "bold"),
            (self.is_dim, "dim"),
            (self.is_italic, "italic"),
            (self.is_underlined, "underlined"),
            (self.is_struck, "struck"),
        ];
        classes.extend(flags.iter().filter(|(is, _)| *is).map(|(_, class)| (*class).to_owned()));
        classes.join(" ")
    }
}

/// The colour behind 38 or 48: `5;N` or `2;R;G;B`, in parameters of their own or, with colons, as
/// parts of the same.
fn colour<'a>(more: &[u16], codes: &mut impl Iterator<Item = &'a [u16]>) -> Option<u8> {
    let mut own = more.iter().copied();
    let mut next = || match more {
        [] => codes.next()?.first().copied(),
        _ => own.next(),
    };
    match next()? {
        5 => indexed(u8::try_from(next()?).ok()?),
        2 => {
            // With colons a colour space may stand before the three.
            if more.len() > 4 {
                next()?;
            }
            let mut part = || u8::try_from(next()?).ok();
            Some(nearest([part()?, part()?, part()?]))
        }
        _ => None,
    }
}

/// A colour of the 256.
fn indexed(index: u8) -> Option<u8> {
    const LEVELS: [u8; 6] = [0, 95, 135, 175, 215, 255];
    Some(match index {
        0..16 => index,
        16..232 => {
            let cube = index - 16;
            nearest([cube / 36, cube / 6 % 6, cube % 6].map(|level| LEVELS[usize::from(level)]))
        }
        232.. => nearest([8 + 10 * (index - 232); 3]),
    })
}

/// The nearest of the 16 colours, in their usual red, green and blue.
fn nearest(wanted: [u8; 3]) -> u8 {
    const COLOURS: [[u8; 3]; 16] = [
        [0, 0, 0],
        [205, 0, 0],
        [0, 205, 0],
        [205, 205, 0],
        [0, 0, 238],
        [205, 0, 205],
        [0, 205, 205],
        [229, 229, 229],
        [127, 127, 127],
        [255, 0, 0],
        [0, 255, 0],
        [255, 255, 0],
        [92, 92, 255],
        [255, 0, 255],
        [0, 255, 255],
        [255, 255, 255],
    ];
    let distance = |colour: &[u8; 3]| -> u32 {
        colour.iter().zip(wanted).map(|(one, other)| u32::from(one.abs_diff(other)).pow(2)).sum()
    };
    let (index, _) =
        (0..).zip(&COLOURS).min_by_key(|(_, colour)| distance(colour)).unwrap_or((0, &COLOURS[0]));
    index
}
