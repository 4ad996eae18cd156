//! Which keys a decoder's tokens see.

use std::str::FromStr;

use serde::{Serialize, Serializer};

use super::batch::Sight;
use crate::{Error, Result};

/// `mask: "causal" | "prefix"`: what a decoder is loaded with. With `prefix` it is a prefix decoder (Raffel et al. 2020, Dong et al. 2019): the tokens
/// of the prompt see one another whatever their order, those of the answer see the prompt and what stands before them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mask {
    #[default]
    Causal,
    Prefix,
}

impl Mask {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Mask::Causal => "causal",
            Mask::Prefix => "prefix",
        }
    }

    /// How sequences are laid out under it.
    pub fn sight(self) -> Sight {
        match self {
            Mask::Causal => Sight::Causal,
            Mask::Prefix => Sight::Prefix,
        }
    }
}

impl FromStr for Mask {
    type Err = Error;

    fn from_str(s: &str) -> Result<Mask> {
        match s {
            "causal" => Ok(Mask::Causal),
            "prefix" => Ok(Mask::Prefix),
            other => Err(Error::config("mask", format!("expected causal or prefix, found {other:?}"))),
        }
    }
}

impl Serialize for Mask {
    fn serialize<S: Serializer>(&self, s: S) -> std::result::Result<S::Ok, S::Error> {
        s.serialize_str(self.name())
    }
}
