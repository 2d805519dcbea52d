//! The names of services, in pages.

use dyad_naming::registry::ServicePage;
use dyad_types::ServiceKey;
use dyad_types::limits::PAGE_MAX;

use crate::fault::Fault;
use crate::state::App;

/// A page of the services of a group, in the order of Nacos.
///
/// # Errors
/// The page is too large, or it ends before it begins.
pub fn page(app: &App, namespace: &str, group: &str, page: i32, size: i32) -> Result<ServicePage, Fault> {
    if usize::try_from(size).is_ok_and(|size| size > app.bounds.page) {
        return Err(Fault::Invalid(format!("pageSize {size} is over the limit of {}", app.bounds.page)));
    }
    let mut found = app.registry.services(namespace, group, page, size).map_err(Fault::Invalid)?;
    if found.count <= PAGE_MAX {
        let all = app.registry.services(namespace, group, 1, PAGE_MAX as i32).map_err(Fault::Invalid)?;
        let start = (i64::from(page) - 1).saturating_mul(i64::from(size)).max(0);
        let start = usize::try_from(start).unwrap_or(usize::MAX);
        let len = found.services.len();
        found.services = in_java_order(all.services).into_iter().skip(start).take(len).collect();
    }
    Ok(found)
}

/// The order of Java's hash set of grouped names, in which Nacos pages: recorded traffic finds the same pages here.
/// Groups larger than one page are listed by name.
fn in_java_order(mut services: Vec<ServiceKey>) -> Vec<ServiceKey> {
    // A table is doubled when it is three quarters full.
    let mut places = 16;
    while services.len() * 4 > places * 3 {
        places *= 2;
    }
    services.sort_by_cached_key(|key| {
        let hash = key
            .grouped_name()
            .encode_utf16()
            .fold(0u32, |hash, unit| hash.wrapping_mul(31).wrapping_add(u32::from(unit)));
        (hash ^ (hash >> 16)) as usize & (places - 1)
    });
    services
}
