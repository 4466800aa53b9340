//! Texts that stand for something else: numbers with units, modes, owners, the architecture.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{ValueError, complaint};

/// The processor architecture of an environment, by rpm's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    /// 64-bit x86.
    #[serde(rename = "x86_64")]
    X86_64,
    /// 64-bit Arm.
    Aarch64,
    /// 64-bit POWER, little-endian.
    Ppc64le,
    /// IBM Z.
    S390x,
    /// 64-bit RISC-V.
    Riscv64,
}

impl Architecture {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::X86_64,
        Self::Aarch64,
        Self::Ppc64le,
        Self::S390x,
        Self::Riscv64,
    ];

    /// rpm's name of it, which is also the kernel's.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
            Self::Ppc64le => "ppc64le",
            Self::S390x => "s390x",
            Self::Riscv64 => "riscv64",
        }
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A length of time: `90s`, `30m`, `2h`; `none` for no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Period(Option<Duration>);

impl Period {
    /// No limit.
    pub const NONE: Self = Self(None);

    /// So many seconds.
    pub const fn seconds(seconds: u64) -> Self {
        Self(Some(Duration::from_secs(seconds)))
    }

    /// The limit, `None` where there is none.
    pub fn limit(self) -> Option<Duration> {
        self.0
    }
}

impl TryFrom<String> for Period {
    type Error = ValueError;

    fn try_from(text: String) -> Result<Self, ValueError> {
        let units = [("s", 1), ("m", 60), ("h", 3600)];
        let allowed = "write a whole number and a unit (`90s`, `30m`, `2h`), or `none`";
        if text == "none" {
            return Ok(Self(None));
        }
        quantity(&text, &units)
            .map(Self::seconds)
            .ok_or_else(|| complaint(&text, "a length of time", allowed))
    }
}

/// An amount of memory: `512MiB`, `8GiB`; `none` for no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct ByteSize(Option<u64>);

impl ByteSize {
    /// No limit.
    pub const NONE: Self = Self(None);

    /// The limit in bytes, `None` where there is none.
    pub fn limit(self) -> Option<u64> {
        self.0
    }
}

impl TryFrom<String> for ByteSize {
    type Error = ValueError;

    fn try_from(text: String) -> Result<Self, ValueError> {
        let units = [("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];
        let allowed = "write a whole number and a unit (`512MiB`, `8GiB`, `1TiB`), or `none`";
        if text == "none" {
            return Ok(Self::NONE);
        }
        quantity(&text, &units)
            .map(|bytes| Self(Some(bytes)))
            .ok_or_else(|| complaint(&text, "an amount of memory", allowed))
    }
}

/// How many processors' time there is: `2`, `1.5`; at least a hundredth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "f64")]
pub struct Cores(u32);

impl Cores {
    /// In hundredths of a processor.
    pub fn hundredths(self) -> u32 {
        self.0
    }
}

impl TryFrom<f64> for Cores {
    type Error = ValueError;

    fn try_from(number: f64) -> Result<Self, ValueError> {
        let allowed = "write a number of processors (`2`, `1.5`), at least 0.01";
        if !(0.01..=10_000.0).contains(&number) {
            return Err(complaint(
                &number.to_string(),
                "a number of processors",
                allowed,
            ));
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the range was checked"
        )]
        Ok(Self((number * 100.0).round() as u32))
    }
}

/// A positive whole number with one of `units`.
fn quantity(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let (number, factor) = units
        .iter()
        .find_map(|(unit, factor)| Some((text.strip_suffix(unit)?.trim_end(), *factor)))?;
    let digits = number.bytes().all(|byte| byte.is_ascii_digit());
    let value = number
        .parse::<u64>()
        .ok()
        .filter(|value| digits && *value > 0)?;
    value.checked_mul(factor)
}

/// Permission bits of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Mode(u32);

impl Mode {
    /// The mode `bits`, of which only the lowest twelve count.
    pub const fn new(bits: u32) -> Self {
        Self(bits & 0o7777)
    }

    /// The bits: at most 0o7777.
    pub fn bits(self) -> u32 {
        self.0
    }
}

impl TryFrom<String> for Mode {
    type Error = ValueError;

    fn try_from(text: String) -> Result<Self, ValueError> {
        let octal =
            matches!(text.len(), 3 | 4) && text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
        let bits = octal.then(|| u32::from_str_radix(&text, 8).ok()).flatten();
        bits.map(Self).ok_or_else(|| {
            complaint(
                &text,
                "a file mode",
                "write three or four octal digits (`0644`, `0755`)",
            )
        })
    }
}

/// Owner of a file inside an environment, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Owner {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

impl Owner {
    /// root and its group.
    pub const ROOT: Self = Self { uid: 0, gid: 0 };
}

impl TryFrom<String> for Owner {
    type Error = ValueError;

    fn try_from(text: String) -> Result<Self, ValueError> {
        let id = |text: &str| match text {
            "root" => Some(0),
            digits => digits
                .parse::<u16>()
                .ok()
                .filter(|_| !digits.starts_with('+'))
                .map(u32::from),
        };
        let parse = || {
            let (user, group) = text.split_once(':')?;
            Some(Self {
                uid: id(user)?,
                gid: id(group)?,
            })
        };
        let allowed = "write numbers from 0 to 65535 or `root` (`root:root`, `1000:1000`)";
        parse().ok_or_else(|| complaint(&text, "an owner and a group", allowed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_have_units() {
        let period = |text: &str| Period::try_from(text.to_owned()).ok().map(Period::limit);
        assert_eq!(period("2h"), Some(Some(Duration::from_hours(2))));
        assert_eq!(period("30 m"), Some(Some(Duration::from_mins(30))));
        assert_eq!(period("none"), Some(None));
        for text in [
            "",
            "2",
            "h",
            "0s",
            "-1s",
            "+1s",
            "1.5h",
            "2d",
            "99999999999999999999s",
            "18446744073709551615h",
        ] {
            assert_eq!(period(text), None, "{text}");
        }
        let size = |text: &str| {
            ByteSize::try_from(text.to_owned())
                .ok()
                .and_then(ByteSize::limit)
        };
        assert_eq!(size("8GiB"), Some(8 << 30));
        assert_eq!(size("8GB"), None);
    }

    #[test]
    fn processors_can_be_parts_of_one() {
        let cores = |number| Cores::try_from(number).ok().map(Cores::hundredths);
        assert_eq!(
            [cores(2.0), cores(1.5), cores(0.01)],
            [Some(200), Some(150), Some(1)]
        );
        assert_eq!(
            [cores(0.0), cores(-1.0), cores(f64::NAN), cores(1e9)],
            [None; 4]
        );
    }

    #[test]
    fn modes_and_owners_are_numbers() {
        let mode = |text: &str| Mode::try_from(text.to_owned()).ok().map(Mode::bits);
        assert_eq!(
            [mode("0644"), mode("755"), mode("4755")],
            [Some(0o644), Some(0o755), Some(0o4755)]
        );
        assert_eq!(
            [mode(""), mode("0o644"), mode("0888"), mode("00644")],
            [None; 4]
        );
        let owner = |text: &str| {
            Owner::try_from(text.to_owned())
                .ok()
                .map(|owner| (owner.uid, owner.gid))
        };
        assert_eq!(
            [owner("root:root"), owner("1000:10")],
            [Some((0, 0)), Some((1000, 10))]
        );
        assert_eq!(
            [
                owner("1000"),
                owner("a:b"),
                owner("70000:0"),
                owner("1:2:3"),
                owner("+1:1")
            ],
            [None; 5]
        );
    }

    #[test]
    fn architectures_have_one_text_form() {
        for architecture in Architecture::ALL {
            let text = serde_json::to_string(&architecture).unwrap();
            assert_eq!(text, format!("\"{architecture}\""));
            assert_eq!(
                serde_json::from_str::<Architecture>(&text).unwrap(),
                architecture
            );
        }
    }
}
