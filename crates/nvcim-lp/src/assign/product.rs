//! First prices for costs that are nearly a product: what a row has at stake times how bad a column is.
//!
//! Such costs are what faults make of a tile: the energy that a logical row carries times the damage of a physical
//! row. They are also what shortest paths are slowest at, because every row wants the same columns.
//!
//! Model: `c_ij = b_i + a_i d_j` with the column means `d` and, for each row, `a_i` by least squares. Under it the rows
//! with the largest `a` sit on the columns with the smallest `d`, in order, and the prices that keep them there rise by
//! `a (d' - d)` from each column to the next. A wrong model makes bad prices but no wrong assignment; paths then take
//! longer.

use super::Costs;

/// The share of the variation within rows that the model must explain to be used. Costs without structure have a share
/// of one part in as many as there are rows; prices from noise cost more time than they save.
const EXPLAINED: f64 = 0.3;

/// The prices of all columns under the model, where it explains the costs; else `None`.
///
/// Columns that no row can have for want of rows are meant to be held by idle rows, which have nothing at stake.
pub(super) fn product_prices(costs: &Costs) -> Option<Vec<f64>> {
    let (n_rows, n_cols) = (costs.n_rows, costs.n_cols);
    let damage = column_means(costs);
    let center = mean(damage.iter().copied());
    let spread: f64 = damage.iter().map(|it| (it - center) * (it - center)).sum();
    let (mut variation, mut explained) = (0.0, 0.0);
    let mut stakes = vec![0.0; n_cols];
    for (row, stake) in stakes.iter_mut().enumerate().take(n_rows) {
        let costs = costs.row(row);
        let row_mean = mean(finite(costs));
        let mut slope = 0.0;
        for (cost, damage) in costs.iter().zip(&damage).filter(|(cost, _)| cost.is_finite()) {
            variation += (cost - row_mean) * (cost - row_mean);
            slope += (cost - row_mean) * (damage - center);
        }
        explained += slope * slope / spread;
        *stake = slope / spread;
    }
    // Without any variation `explained` is not a number, and with costs beyond 1e150 the prices are none.
    let is_product = explained >= EXPLAINED * variation && variation > 0.0;
    let prices = is_product.then(|| rising_prices(costs.width, damage, stakes));
    prices.filter(|prices| prices.iter().all(|it| it.is_finite()))
}

/// Prices that rise from the least damaged column, which the largest stake holds, to the most damaged one.
fn rising_prices(width: usize, damage: Vec<f64>, mut stakes: Vec<f64>) -> Vec<f64> {
    stakes.sort_by(|a, b| b.total_cmp(a));
    let mut cols: Vec<usize> = (0..damage.len()).collect();
    cols.sort_by(|&a, &b| damage[a].total_cmp(&damage[b]));
    let mut res = vec![0.0; width];
    for (cols, stakes) in cols.windows(2).zip(stakes.windows(2)) {
        let rise = 0.5 * (stakes[0] + stakes[1]) * (damage[cols[1]] - damage[cols[0]]);
        res[cols[1]] = res[cols[0]] + rise;
    }
    res
}

/// The mean cost of each column over the rows that may have it.
fn column_means(costs: &Costs) -> Vec<f64> {
    let (mut sums, mut counts) = (vec![0.0; costs.n_cols], vec![0.0; costs.n_cols]);
    for row in 0..costs.n_rows {
        for ((sum, count), &cost) in sums.iter_mut().zip(&mut counts).zip(costs.row(row)) {
            if cost.is_finite() {
                *sum += cost;
                *count += 1.0;
            }
        }
    }
    sums.iter().zip(counts).map(|(sum, count)| sum / f64::max(count, 1.0)).collect()
}

fn finite(costs: &[f64]) -> impl Iterator<Item = f64> {
    costs.iter().copied().filter(|it| it.is_finite())
}

/// The mean of some values, 0 of none.
fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    sum / f64::max(count, 1.0)
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;

    #[test]
    fn a_product_is_priced_so_that_no_row_wants_to_leave() {
        let stakes = [3.0, 5.0, 1.0, 2.0];
        let damage = [7.0, 1.0, 4.0, 2.0, 9.0];
        let cost = Array2::from_shape_fn((4, 5), |(i, j)| stakes[i] * damage[j] - 10.0 * i as f64);
        let prices = product_prices(&Costs::new(cost.view())).expect("it is a product");
        for (row, own) in [(0, 3), (1, 1), (2, 0), (3, 2)] {
            for col in 0..5 {
                let gain = (cost[[row, own]] - prices[own]) - (cost[[row, col]] - prices[col]);
                assert!(gain <= 1e-9, "row {row} gains {gain} on column {col}");
            }
        }
    }

    #[test]
    fn costs_too_large_to_square_get_no_prices() {
        let cost = Array2::from_shape_fn((3, 3), |(i, j)| 1e200 * (i * j) as f64);
        assert_eq!(product_prices(&Costs::new(cost.view())), None);
    }

    #[test]
    fn costs_without_structure_get_no_prices() {
        let cost = Array2::from_shape_fn((30, 30), |(i, j)| {
            ((i * i * 37 + j * j * 91 + i * j * 7) % 101) as f64
        });
        assert_eq!(product_prices(&Costs::new(cost.view())), None);
        for same in [
            Array2::from_elem((3, 3), 2.0),
            Array2::zeros((0, 3)),
            Array2::from_elem((3, 3), f64::INFINITY),
        ] {
            assert_eq!(product_prices(&Costs::new(same.view())), None);
        }
    }
}
