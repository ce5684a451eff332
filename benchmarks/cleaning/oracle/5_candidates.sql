-- one row is a pair of documents whose sizes, and the place of a shingle in both prefixes, allow J >= t
-- The rest of the pair after the first shared shingle has to be large enough (Xiao et al. 2008, PPJoin).
select distinct a.number as i, b.number as j
from prefixes as a
join prefixes as b using (shingle)
where
    a.number < b.number
    and 100 * least(a.shingles, b.shingles) >= $min_percent * greatest(a.shingles, b.shingles)
    and (100 + $min_percent) * (least(a.place, b.place) + least(a.shingles - a.place, b.shingles - b.place))
        >= $min_percent * (a.shingles + b.shingles)
