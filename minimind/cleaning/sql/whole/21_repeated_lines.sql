-- one row is a line that stands in so many documents left so far, each counted once, with the first of them
with standing as (
    select number, unnest(lines) as line
    from catalogue
    join lines using (text_key)
    where number not in (select number from unfit_documents)
)
select line, count(*) as documents, min(number) as first_number
from standing
group by line
having count(*) >= $repeated_min_documents
