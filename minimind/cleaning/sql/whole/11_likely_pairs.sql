-- one row is a candidate pair whose signatures look like J >= $min_pair_jaccard or little less, with the estimate
-- Bins that are filled in both sketches and hold the same hash, by bins that are filled in either, estimate J (Li, Owen
-- and Zhang 2012); different hashes share their four bits in one case of 16, which is subtracted.
with compared as (
    select
        i,
        j,
        a.filled & b.filled as filled_in_both,
        bit_count(a.filled | b.filled) as filled_in_either,
        xor(a.bit_0, b.bit_0) | xor(a.bit_1, b.bit_1) | xor(a.bit_2, b.bit_2) | xor(a.bit_3, b.bit_3) as different
    from candidates
    join sketches as a on a.number = candidates.i
    join sketches as b on b.number = candidates.j
),
counted as (
    select i, j, bit_count(filled_in_both) as filled_in_both, bit_count(filled_in_both & ~different) as alike,
        filled_in_either
    from compared
),
estimated as (
    select i, j, (16 * alike - filled_in_both) / (15 * filled_in_either) as estimate
    from counted
)
select i, j, estimate
from estimated
where estimate >= $min_pair_jaccard - $estimate_margin
