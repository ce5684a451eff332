-- one row is a text with the hashes of its lines, each once, of those that are long enough to be compared
with split_lines as (
    select text_key, unnest(string_split(text, chr(10))) as line
    from texts
),
hashed as (
    select distinct text_key, line_hash(line) as line
    from split_lines
    where length(bare_line(line)) >= $repeated_min_chars
)
select text_key, list(line order by line) as lines
from hashed
group by text_key
