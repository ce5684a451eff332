-- one row is the text of a document left so far without the repeated lines in it, where enough of it is left
with affected as (
    select distinct number, text_key
    from (select number, text_key, unnest(lines) as line from catalogue join lines using (text_key))
    semi join repeated_lines using (line)
    where $cut_repeated_lines and number not in (select number from unfit_documents)
),
split_lines as (
    select
        number,
        unnest(string_split(text, chr(10))) as line,
        unnest(range(1, len(string_split(text, chr(10))) + 1)) as place
    from affected
    join texts using (text_key)
),
left_lines as (
    select number, line, place
    from split_lines
    where line_hash(line) not in (select line from repeated_lines)
),
joined as (
    -- at most two blank lines in a row, none at either end, as in every text
    select number, regexp_replace(
        trim(string_agg(line, chr(10) order by place), chr(10)), '\n{4,}', repeat(chr(10), 3), 'g'
    ) as text
    from left_lines
    group by number
)
select number, joined.text, catalogue.bytes - strlen(joined.text) as bytes_cut
from joined
join catalogue using (number)
where strlen(joined.text) >= (1 - $max_cut_share) * catalogue.bytes and trim(joined.text) <> ''
