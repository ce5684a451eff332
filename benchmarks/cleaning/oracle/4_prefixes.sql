-- one row is a shingle in the prefix of a comparable document: its rarest shingles, of which two sets with J >= t must
-- share one (Chaudhuri, Ganti and Kaushik 2006; Bayardo, Ma and Srikant 2007)
with compared as (
    select number, shingle, shingles
    from shingles
    join comparable using (number)
),
frequencies as (
    select shingle, count(*) as frequency from compared group by shingle
),
ordered as (
    select
        number,
        shingle,
        shingles,
        frequency,
        row_number() over (partition by number order by frequency, shingle) as place
    from compared
    join frequencies using (shingle)
)
select number, shingle, shingles, place
from ordered
where place <= shingles - ($min_percent * shingles + 99) // 100 + 1 and frequency > 1
