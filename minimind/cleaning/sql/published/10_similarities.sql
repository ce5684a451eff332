-- one row is a range of Jaccard similarities, two hundredths wide, with the verified pairs in it
-- Pairs below $min_pair_jaccard are not looked for; those that are alike word for word stand in the last range.
with hundredths as (
    select 2 * least(floor(round(50 * jaccard, 9)), 49)::integer as hundredth from verified_pairs
)
select hundredth / 100 as min_jaccard, (hundredth + 2) / 100 as max_jaccard, count(*) as pairs
from hundredths
group by hundredth
order by hundredth
