-- one row is a bin of a document in a crowd, with the lowest shingle hash in it
with crowded as (
    select distinct number from collisions where members > $crowd
)
select number, unnest(bins) as bin, unnest(lows) as low
from crowded
join sound_documents using (number)
join signatures using (text_key)
