-- one row is a document that was ever assigned to a split, in order of document_id
select document_id, coalesce(splits.split, previous_ledger.split) as split
from previous_ledger
full join splits using (document_id)
order by document_id
