-- one row is a document left before the split, with the bytes of its text as it is published
select number, bytes - coalesce(bytes_cut, 0) - coalesce(bytes_saved, 0) as bytes
from catalogue
left join cut_texts using (number)
left join masked_texts using (number)
where number not in (select number from unfit_documents)
