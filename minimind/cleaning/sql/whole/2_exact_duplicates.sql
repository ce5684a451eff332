-- one row is a document whose normalised text is that of a document picked before it
with copies as (
    select number, min(number) over (partition by text_md5) as kept_number
    from catalogue
    where chars > 0
)
select number, kept_number
from copies
where number <> kept_number
