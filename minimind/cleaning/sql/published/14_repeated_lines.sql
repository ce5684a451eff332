-- one row is one of the lines that stand in the most documents left before the split, and whether it was removed
with most_repeated as (
    select line, documents, first_number
    from repeated_lines
    order by documents desc, line
    limit 50
),
split_lines as (
    select line, documents, unnest(string_split(text, chr(10))) as spelled
    from most_repeated
    join catalogue on catalogue.number = first_number
    join texts using (text_key)
)
select min(bare_line(spelled)) as text, documents, $cut_repeated_lines as removed
from split_lines
where line_hash(spelled) = line
group by line, documents
order by documents desc, text
