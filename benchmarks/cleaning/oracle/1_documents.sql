-- one row is a document with a number that stands for it
select row_number() over (order by id)::uinteger as number, id, text
from texts
