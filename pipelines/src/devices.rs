//! Which devices of a partition a job is for, and in which wave each comes.

use std::collections::BTreeMap;

use crate::ast::{Devices, Waves};
use crate::inventory::{Device, Inventory};
use crate::name::{DeviceName, RedundancyGroupName};
use crate::quantity::Share;
use crate::source::Spanned;

/// A device and its name.
pub(crate) type Named<'i> = (&'i DeviceName, &'i Device);

/// The devices that are meant: in the order in which they are named, or else so that of each redundancy
/// group the first ones come before the second ones. Those of another job are none here.
pub(crate) fn chosen<'i>(written: &Devices, inventory: &'i Inventory) -> Vec<Named<'i>> {
    let is_one = |(_, device): &Named<'_>| {
        let has = |(label, value)| device.labels.get(label) == Some(value);
        is_among(device.role.as_ref(), written.roles.as_deref())
            && is_among(device.group.as_ref(), written.groups.as_deref())
            && written.labels.iter().all(has)
    };
    match &written.names {
        Some(names) => {
            let named =
                names.iter().filter_map(|name| inventory.devices.get_key_value(&name.value));
            named.filter(is_one).collect()
        }
        None => {
            let devices: Vec<_> = inventory.devices.iter().filter(is_one).collect();
            let mut ranked: Vec<_> = ranks(&devices).into_iter().zip(devices).collect();
            ranked.sort_by_key(|(rank, _)| *rank);
            ranked.into_iter().map(|(_, device)| device).collect()
        }
    }
}

/// Whether it is one of those that are written, if any are.
fn is_among<T: PartialEq>(one: Option<&T>, written: Option<&[Spanned<T>]>) -> bool {
    written.is_none_or(|written| written.iter().any(|it| Some(&it.value) == one))
}

/// The how-manieth of its redundancy group each is, from 0; 0 for one of no group.
fn ranks<'i>(devices: &[Named<'i>]) -> Vec<usize> {
    let mut seen: BTreeMap<&RedundancyGroupName, usize> = BTreeMap::new();
    let rank = |&(_, device): &Named<'i>| {
        let Some(group) = &device.group else { return 0 };
        let count = seen.entry(group).or_default();
        *count += 1;
        *count - 1
    };
    devices.iter().map(rank).collect()
}

/// In which wave each of these devices comes.
pub(crate) fn waves(devices: &[Named<'_>], waves: &Waves) -> Vec<u32> {
    match waves {
        Waves::One => vec![0; devices.len()],
        Waves::Sizes(sizes) => by_size(devices.len(), sizes),
        Waves::Halves => {
            let mut alone = 0;
            let half = |((_, device), rank): (&Named<'_>, usize)| {
                if device.group.is_some() {
                    return rank as u32 % 2;
                }
                alone += 1;
                (alone - 1) % 2
            };
            devices.iter().zip(ranks(devices)).map(half).collect()
        }
    }
}

/// In which wave each of `count` comes; the last size counts for all that follow.
pub(crate) fn by_size(count: usize, sizes: &[Share]) -> Vec<u32> {
    let mut waves = Vec::with_capacity(count);
    let mut sizes = sizes.iter();
    let mut size = None;
    for wave in 0.. {
        if waves.len() >= count {
            break;
        }
        size = sizes.next().or(size);
        let so_many = size.map_or(count, |size| size.of(count));
        waves.resize((waves.len() + so_many).min(count), wave);
    }
    waves
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_numbers_or_shares_and_the_last_one_counts_on() {
        let by = |sizes: &[Share]| by_size(8, sizes);
        assert_eq!(by(&[Share::Count(3)]), [0, 0, 0, 1, 1, 1, 2, 2]);
        assert_eq!(by(&[Share::Count(1), Share::Percent(25)]), [0, 1, 1, 2, 2, 3, 3, 4]);
        assert_eq!(by(&[Share::Percent(25), Share::Percent(100)]), [0, 0, 1, 1, 1, 1, 1, 1]);
        assert_eq!(by(&[Share::Percent(1)]), [0, 1, 2, 3, 4, 5, 6, 7]);
        assert!(by_size(0, &[Share::Count(1)]).is_empty());
        assert_eq!(by_size(2, &[]), [0, 0]);
    }
}
